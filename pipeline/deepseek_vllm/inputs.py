"""What a request for our model is made of: the views of a page, or latents that stand for them.

The prompts made here are what `AsyncLLM.generate` and `LLM.generate` take. Pixels are handed on without a copy.

It does not know vLLM.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from quire.rasterize.modes import MAX_TILES, MODES, TILE_PX, num_image_tokens
from quire.records import PageImage, Pixels

IMAGE_TOKEN = "<image>"
"""Stands in a prompt where the page's tokens go."""

MAX_PAGE_TOKENS = max(num_image_tokens(MODES["gundam"].side_px, 1, MAX_TILES), num_image_tokens(1280))

Prompt = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class PageViews:
    """A page as the model takes it: (side, side, 3) uint8 views, the tiles row by row first, the whole page last."""

    mode: str
    tile_cols: int
    tile_rows: int
    views: tuple[Tensor, ...]

    @property
    def num_tokens(self) -> int:
        return num_image_tokens(self.views[-1].shape[0], self.tile_cols, self.tile_rows)

    def check(self) -> None:
        """Raise `ValueError` unless the views are what the mode says. An engine must not get any others: a size that it
        does not expect would end the engine, not only the request."""
        mode = MODES.get(self.mode)
        if mode is None or not mode.side_px:
            known = ", ".join(name for name, each in MODES.items() if each.side_px)
            raise ValueError(f"unknown mode {self.mode!r}: the model has {known}")
        num_tiles = self.tile_cols * self.tile_rows
        is_grid = min(self.tile_cols, self.tile_rows) > 0 and 2 <= num_tiles <= MAX_TILES
        if (self.tile_cols, self.tile_rows) != (0, 0) and not (mode.max_tiles and is_grid):
            raise ValueError(f"a page of mode {self.mode} cannot have {self.tile_cols} x {self.tile_rows} tiles")
        expected = [(TILE_PX, TILE_PX, 3)] * num_tiles + [(mode.side_px, mode.side_px, 3)]
        if [tuple(view.shape) for view in self.views] != expected:
            shapes = ", ".join(" x ".join(map(str, view.shape)) for view in self.views)
            raise ValueError(f"views of {shapes or 'nothing'} do not fit mode {self.mode} with {num_tiles} tiles")
        if any(view.dtype != torch.uint8 for view in self.views):
            raise ValueError("views must be uint8")


def page_views(page: PageImage) -> PageViews:
    """The page's pixels as tensors that share their memory."""
    return PageViews(page.mode, page.tile_cols, page.tile_rows, tuple(_tensor(view) for view in page.views))


def page_prompt(page: PageImage, prompt: str) -> Prompt:
    """Ask the model about a page. `prompt` holds one `<image>`.

    The page's hash is its identity in the engine's caches, so that the engine does not hash pixels again and two
    requests for the same page at the same time are encoded once.
    """
    identity = f"{page.sha256}:{page.mode}:{page.tile_cols}x{page.tile_rows}" if page.sha256 else ""
    return _prompt(prompt, page_views(page), identity)


def latents_prompt(latents: Tensor, prompt: str, identity: str = "") -> Prompt:
    """Ask the model about a page that is encoded already: (tokens, width) of any float type.

    `identity` names the latents in the engine's caches; without one every request is a page of its own.
    """
    return _prompt(prompt, latents, identity and f"{identity}:latents")


def _prompt(prompt: str, item: PageViews | Tensor, identity: str) -> Prompt:
    uuids: Mapping[str, object] = {"multi_modal_uuids": {"image": [identity]}} if identity else {}
    return {"prompt": prompt, "multi_modal_data": {"image": [item]}, **uuids}


def _tensor(pixels: Pixels) -> Tensor:
    """Arrays in shared memory are read-only; PyTorch cannot express that and warns. Nothing writes to them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(pixels)
