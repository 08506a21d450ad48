"""What many tests stand on: ports and proxies that leave nothing to the next test."""

import asyncio
import gc
import random
import socket
import warnings

import pytest

from tests.rigs.endpoint import free_port
from tests.rigs.fault_proxy import Listener


async def read_to_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def end_after(num_turns: int) -> None:
    """A client connects, and so many turns of the loop later the server ends."""
    listener = await Listener.of(read_to_the_end)
    with socket.create_connection(("127.0.0.1", listener.port)):
        for _ in range(num_turns):
            await asyncio.sleep(0)
        await listener.end()
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("num_turns", range(8))
def test_a_proxy_that_ends_while_a_connection_comes_leaves_none_open(num_turns: int) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(end_after(num_turns))
        gc.collect()
    assert not [str(warning.message) for warning in told]


def test_processes_whose_chance_is_seeded_alike_have_other_ports() -> None:
    """As those of shuffled tests."""
    ports = []
    for _ in range(2):
        random.seed(7)
        ports.append([free_port() for _ in range(4)])
    assert ports[0] != ports[1]
