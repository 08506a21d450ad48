"""Latents out of a running engine: what vLLM's `worker_extension_cls` adds to its workers, and how to call it.

    reply = await engine.collective_rpc(ENCODE, args=encode_arguments(pages))
    latents = decode_reply(reply)

The call runs between two steps of the engine. Pixels and latents travel as bytes, the only form in which
vLLM passes them without pickle.

It does not know vLLM's classes: the worker that it is mixed into does.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from quire.deepseek_vllm.inputs import PageViews

EXTENSION = "quire.deepseek_vllm.worker.EncodesPages"
"""The engine argument `worker_extension_cls`."""

ENCODE = "encode_pages"

_Page = tuple[int, list[Any]]
_Latents = tuple[int, str, bytes]


class EncodesPages:
    """Mixed into vLLM's worker."""

    def encode_pages(self, pages: list[_Page]) -> list[_Latents]:
        """Pages as their number of tile columns and the bytes of their views; latents as tokens, type and bytes."""
        encoder = self.get_model().encoder  # pyrefly: ignore[missing-attribute]
        views = [[_square(data) for data in page] for _, page in pages]
        latents = encoder(views, [cols for cols, _ in pages])
        return [(len(page), str(page.dtype).removeprefix("torch."), _bytes(page)) for page in latents]


def encode_arguments(pages: Sequence[PageViews]) -> tuple[list[_Page]]:
    """The arguments of `ENCODE`. Raises `ValueError` for a page that is not what its mode says."""
    for page in pages:
        page.check()
    return ([(page.tile_cols, [view.flatten().numpy().data for view in page.views]) for page in pages],)


def decode_reply(reply: Sequence[Sequence[_Latents]]) -> list[Tensor]:
    """(tokens, width) a page in the engine's own type, bfloat16 as a rule. All workers answer the same."""
    return [
        torch.frombuffer(bytearray(data), dtype=getattr(torch, dtype)).view(num_tokens, -1)
        for num_tokens, dtype, data in reply[0]
    ]


def _square(data: bytes) -> Tensor:
    side = isqrt(len(data) // 3)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(side, side, 3)


def _bytes(latents: Tensor) -> bytes:
    return latents.cpu().contiguous().view(torch.uint8).numpy().tobytes()
