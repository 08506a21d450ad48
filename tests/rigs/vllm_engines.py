"""The vLLM engine on a CPU with a small checkpoint: its settings, and one that runs for a while.

It does not know pytest's fixtures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.engines.choose import make_engine
from tests.rigs.small_model import without_flask

if TYPE_CHECKING:
    from quire.engines.gpu.engine import VllmEngine


def vllm_overrides(model: Path, *others: str) -> list[str]:
    """Settings as the command line takes them: the least that runs, in float32. Later ones win."""
    return [
        "engine.name=vllm",
        f"engine.model={model}",
        'engine.modes=["tiny"]',
        "engine.max_output_tokens=40",
        "engine.ngram_size=3",
        "engine.ngram_window=40",
        "engine.ngram_whitelist=[]",
        "vllm.device=cpu",
        "vllm.dtype=float32",
        "vllm.enforce_eager=true",
        "vllm.max_model_len=2048",
        "vllm.extra={kv_cache_memory_bytes=67108864}",
        *others,
    ]


def vllm_settings(model: Path, *others: str) -> Settings:
    return load_settings(None, vllm_overrides(model, *others))


@contextmanager
def running(settings: Settings) -> Iterator[tuple[asyncio.Runner, VllmEngine]]:
    """The engine, and the loop that it lives in."""
    with asyncio.Runner() as runner:
        with without_flask():
            engine = cast("VllmEngine", runner.run(make_engine(settings)))
        try:
            yield runner, engine
        finally:
            runner.run(engine.close())
