"""`engine`: the real vLLM with the small checkpoint, in this process, started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.small_model import engine_arguments, without_flask
from tests.rigs.vllm_environment import vllm_environment


@pytest.fixture(scope="package")
def environment() -> Iterator[None]:
    with vllm_environment():
        yield


@pytest.fixture(scope="package")
def engine(environment: None, small_checkpoint: Path) -> Any:
    from vllm import LLM

    from quire.deepseek_vllm import register
    from quire.deepseek_vllm.worker import EXTENSION

    register()
    with without_flask():
        return LLM(**engine_arguments(small_checkpoint, worker_extension_cls=EXTENSION))
