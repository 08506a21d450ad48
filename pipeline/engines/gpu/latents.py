"""The cache of latents: what the vision tower made of a page, kept on storage for a second prompt or a retry.

    <folder>/<model revision>/<mode>/<first two digits>/<sha256 of the page's pixels>.safetensors

One safetensors object a page, because it holds bfloat16 (Parquet and NumPy do not), says its own shape and type, and is
read without running anything it says. One object a page needs no index, no lock and no rewriting: its name follows from
its content, so that a second writer changes nothing. The cost is one request a page, against seconds of decoding.

The cache never changes what a page says: an object that is damaged, misplaced or of another shape counts as missing, is
removed and logged once a page. If the store does not answer, that counts as missing and is logged, too. Does not know
engines, nor what latents mean.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from quire.errors import NotFound, StorageError
from quire.storage import Folder

_log = logging.getLogger(__name__)

_NAME = "latents"


@dataclass(frozen=True, slots=True)
class PageKey:
    """What latents depend on, besides the model: the page's pixels and mode. `shape` is (tokens, width)."""

    mode: str
    image_sha256: str
    shape: tuple[int, int]


class LatentCache:
    """`revision` names the weights (and their type) that make latents. Everything here blocks."""

    def __init__(self, folder: Folder, revision: str) -> None:
        self._folder = folder
        self._revision = revision

    def key(self, page: PageKey) -> str:
        """The object's key in the folder."""
        return f"{self._revision}/{page.mode}/{page.image_sha256[:2]}/{page.image_sha256}.safetensors"

    def get(self, page: PageKey) -> Tensor | None:
        """The page's latents, (tokens, width) as they were put, or None."""
        key = self.key(page)
        try:
            data = self._folder.get(key)
        except NotFound:
            return None
        except StorageError as exc:
            _log.warning("latents cannot be read and are made again: %s", exc)
            return None
        try:
            return self._opened(data, page)
        except ValueError as exc:
            _log.warning("latents at %s are of no use and are made again: %s", f"{self._folder.uri}/{key}", exc)
            self._remove(key)
            return None

    def put(self, page: PageKey, latents: Tensor) -> None:
        """Keep latents unless they are there already. Raises `ValueError` if they are not of the page's shape."""
        if tuple(latents.shape) != page.shape:
            raise ValueError(f"latents of {tuple(latents.shape)} for a page of {page.shape}")
        latents = latents.detach().cpu().contiguous()
        data = save({_NAME: latents}, metadata=self._metadata(page, latents))
        try:
            self._folder.put_if_absent(self.key(page), data)
        except StorageError as exc:
            _log.warning("latents are not kept: %s", exc)

    def _metadata(self, page: PageKey, latents: Tensor) -> dict[str, str]:
        digest = hashlib.sha256(latents.view(torch.uint8).numpy().data).hexdigest()
        return {
            "format": "pt",
            "model_revision": self._revision,
            "mode": page.mode,
            "image_sha256": page.image_sha256,
            "latents_sha256": digest,
        }

    def _opened(self, data: bytes, page: PageKey) -> Tensor:
        """The latents in an object. Raises `ValueError` unless it is whole, and this page's."""
        try:
            latents = load(data)[_NAME]
            length = int.from_bytes(data[:8], "little")
            found = json.loads(data[8 : 8 + length])["__metadata__"]
        except (SafetensorError, KeyError, ValueError) as exc:
            raise ValueError(f"no safetensors object of ours: {exc}") from exc
        if tuple(latents.shape) != page.shape or not latents.is_floating_point():
            raise ValueError(f"{tuple(latents.shape)} {latents.dtype} instead of floats of {page.shape}")
        if found != self._metadata(page, latents):
            raise ValueError("the description inside is another page's, or the numbers are damaged")
        return latents

    def _remove(self, key: str) -> None:
        try:
            self._folder.delete(key)
        except StorageError as exc:
            _log.warning("%s", exc)
