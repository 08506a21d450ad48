"""Sandboxes with small limits: one that the tests of a module share, and others that are closed when the test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from quire.config.sections import RenderSettings
from quire.rasterize.sandbox import Sandbox

FAULTY = "tests.rasterize.faults:FaultyWorker"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All coroutines of a module here run in one event loop, since a sandbox belongs to one."""
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest.fixture(autouse=True)
def own_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that a rendering process runs sets Pillow's limit for the whole process; here that is the test run's."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """One for all tests that harm no process: starting one takes half a second."""
    made = Sandbox(RenderSettings(), num_workers=1)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def faulty() -> AsyncIterator[Sandbox]:
    """A sandbox whose worker fails on command. Pages may take a second of CPU, which only hung ones reach."""
    made = Sandbox(RenderSettings(page_cpu_s=1.0, probe_cpu_s=1.0), num_workers=1, target=FAULTY)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def make_sandbox() -> AsyncIterator[Callable[..., Sandbox]]:
    """Makes sandboxes of one worker, or as the test says, and closes them all."""
    made: list[Sandbox] = []

    def make(
        settings: RenderSettings | None = None, *passwords: str, num_workers: int = 1, **more: Any
    ) -> Sandbox:
        made.append(Sandbox(settings or RenderSettings(), passwords, num_workers, **more))
        return made[-1]

    yield make
    for sandbox in made:
        await sandbox.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes bytes under a name and gives the path."""

    def write_file(data: bytes, name: str = "document") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write_file
