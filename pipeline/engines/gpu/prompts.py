"""What a page becomes on its way into vLLM: its pixels as they are, or its latents, cached or made first.

Knows DeepSeek-OCR's inputs and the cache of latents; does not know how the answer is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from quire.config.settings import Settings
from quire.deepseek_vllm.inputs import PageViews, Prompt, latents_prompt, page_prompt, page_views
from quire.deepseek_vllm.worker import ENCODE, decode_reply, encode_arguments
from quire.engines.gpu.checkpoints import read_config, revision_of
from quire.engines.gpu.encoding import Batches, Encode, load_tower
from quire.engines.gpu.latents import LatentCache, PageKey
from quire.engines.gpu.process import VllmProcess
from quire.errors import ConfigError, PageRejected
from quire.records import PageImage
from quire.storage import open_folder


class PagePrompts:
    """`is_ours`: the model is the one of `quire.deepseek_vllm`. `latents` makes latents, where they are wanted."""

    def __init__(self, is_ours: bool, latents: Latents | None) -> None:
        self._is_ours = is_ours
        self._latents = latents

    @property
    def num_encoded(self) -> int:
        return self._latents.batches.num_encoded if self._latents else 0

    async def make(self, page: PageImage, prompt: str) -> Prompt:
        """What vLLM is asked. Raises `PageRejected` (kind `bad_image`) for a page that the model cannot take."""
        if not self._is_ours:  # a model of vLLM's own, which cuts its views itself
            return {"prompt": prompt, "multi_modal_data": {"image": Image.fromarray(page.views[-1])}}
        views, sha256 = page_views(page), page.sha256
        try:
            views.check()
        except ValueError as exc:
            raise PageRejected("bad_image", str(exc)) from exc
        if self._latents is None:
            return page_prompt(page, prompt)
        del page
        return latents_prompt(await self._latents.of(sha256, views), prompt)


@dataclass(frozen=True, slots=True)
class Latents:
    """A page's latents: from the cache if `reads_cache`, else made and, if there is a cache, kept there."""

    batches: Batches
    width: int
    cache: LatentCache | None = None
    reads_cache: bool = False

    async def of(self, sha256: str, views: PageViews) -> Tensor:
        """(tokens, width). Raises `EngineDead` if the encoder fails."""
        if self.cache is None:
            return await self.batches.encode(views)
        key = PageKey(views.mode, sha256, (views.num_tokens, self.width))
        found = await asyncio.to_thread(self.cache.get, key) if self.reads_cache else None
        if found is None:
            found = await self.batches.encode(views)
            await asyncio.to_thread(self.cache.put, key, found)
        return found


async def make_prompts(settings: Settings, checkpoint: Path, process: VllmProcess, is_ours: bool) -> PagePrompts:
    """As the settings say. Loads the vision tower if it is to be outside of vLLM."""
    is_split, wants_cache = bool(settings.vllm.encoder_device), settings.engine.latents != "off"
    if not (is_split or wants_cache):
        return PagePrompts(is_ours, None)
    encode = _in_workers(process)
    if is_split:
        encode = await load_tower(checkpoint, settings.vllm.encoder_device, settings.vllm.dtype)
    latents = Latents(
        Batches(encode),
        width=int(read_config(checkpoint)["projector_config"]["n_embed"]),
        cache=await asyncio.to_thread(_open_cache, settings, checkpoint) if wants_cache else None,
        reads_cache=settings.engine.latents == "reuse",
    )
    return PagePrompts(is_ours, latents)


def _in_workers(process: VllmProcess) -> Encode:
    async def encode(pages: Sequence[PageViews]) -> list[Tensor]:
        return decode_reply(await process.call_workers(ENCODE, encode_arguments(pages)))

    return encode


def _open_cache(settings: Settings, checkpoint: Path) -> LatentCache:
    """Named after the weights and their type. The tower's place does not count: any of them will do."""
    if not settings.engine.latents_uri:
        raise ConfigError("engine.latents_uri is empty: say where latents are kept")
    folder = open_folder(settings.engine.latents_uri, settings.storage)
    return LatentCache(
        folder, f"{settings.engine.model_revision or revision_of(checkpoint)}-{settings.vllm.dtype}"
    )
