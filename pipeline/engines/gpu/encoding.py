"""Pages to latents: those that ask at the same time are encoded together, wherever the vision tower is.

The tower is either inside of vLLM (its workers are asked) or a copy of its own on another device of this process.
Does not know storage, nor what is decoded from latents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from quire.deepseek_vllm.encoder import load_encoder
from quire.deepseek_vllm.inputs import PageViews
from quire.errors import EngineDead

Encode = Callable[[Sequence[PageViews]], Awaitable[list[Tensor]]]
"""Pages → (tokens, width) of each, in main memory."""

_BATCH_BYTES = 96 << 20  # of pixels: nine A4 pages at Gundam, 30 at base


class Batches:
    """One call at a time, with all pages that wait, up to a number of bytes. `num_encoded` counts pages."""

    def __init__(self, encode: Encode, max_bytes: int = _BATCH_BYTES) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._waiting: list[tuple[PageViews, asyncio.Future[Tensor]]] = []
        self._task: asyncio.Task[None] | None = None
        self.num_encoded = 0

    async def encode(self, page: PageViews) -> Tensor:
        """(tokens, width). Raises `EngineDead` if the tower fails: a device that has failed once is not to be
        trusted, and in a batch nobody knows whose fault it was."""
        answer: asyncio.Future[Tensor] = asyncio.get_running_loop().create_future()
        self._waiting.append((page, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while batch := self._take():
            try:
                latents = await self._encode([page for page, _ in batch])
            # Nothing of ours cancels this task, but vLLM cancels its own calls when its process dies.
            except (Exception, asyncio.CancelledError) as exc:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(EngineDead(f"the vision tower failed: {exc!r}"))
            else:
                self.num_encoded += len(batch)
                for (_, answer), page_latents in zip(batch, latents, strict=True):
                    if not answer.done():
                        answer.set_result(page_latents)

    def _take(self) -> list[tuple[PageViews, asyncio.Future[Tensor]]]:
        """The next batch, without pages whose caller has gone."""
        batch: list[tuple[PageViews, asyncio.Future[Tensor]]] = []
        num_bytes = 0
        while self._waiting and num_bytes < self._max_bytes:
            page, answer = self._waiting.pop(0)
            if not answer.done():
                batch.append((page, answer))
                num_bytes += sum(view.nbytes for view in page.views)
        return batch


async def load_tower(checkpoint: Path, device: str, dtype: str) -> Encode:
    """The vision tower on a device of its own, as a function that encodes."""
    tower = await asyncio.to_thread(load_encoder, checkpoint, device, _torch_type(dtype))

    def encode(pages: Sequence[PageViews]) -> list[Tensor]:
        return [latents.cpu() for latents in tower([page.views for page in pages], [p.tile_cols for p in pages])]

    async def encode_in_thread(pages: Sequence[PageViews]) -> list[Tensor]:
        return await asyncio.to_thread(encode, pages)

    return encode_in_thread


def _torch_type(dtype: str) -> torch.dtype:
    return {"float32": torch.float32, "float16": torch.float16}.get(dtype, torch.bfloat16)
