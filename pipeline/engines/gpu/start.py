"""What comes before vLLM is imported, which takes ten seconds: its model and its environment."""

from __future__ import annotations

import asyncio
import os

from quire.config.settings import Settings
from quire.engines.base import LocalEngine
from quire.engines.gpu.arguments import ENVIRONMENT
from quire.engines.gpu.checkpoints import local_checkpoint


async def start(settings: Settings, _: int) -> LocalEngine:
    """The engine `vllm`; loading a model takes a minute. A missing model is reported at once."""
    model, revision = settings.engine.model, settings.engine.model_revision
    checkpoint = await asyncio.to_thread(local_checkpoint, model, revision)
    for name, value in ENVIRONMENT.items():  # read when vLLM is imported, and inherited by its processes
        os.environ.setdefault(name, value)
    from quire.engines.gpu.engine import VllmEngine

    return await VllmEngine.start(settings, checkpoint)
