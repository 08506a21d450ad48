"""The cache of latents: what is put comes back to the bit; what is not right counts as missing."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from quire.engines.gpu.latents import LatentCache, PageKey
from quire.errors import StorageError
from quire.storage import Folder
from quire.storage.local import LocalFolder

KEY = PageKey("base", "ab" * 32, (273, 8))


def latents(dtype: torch.dtype = torch.bfloat16, shape: tuple[int, ...] = KEY.shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_latents_come_back_to_the_bit(folder: Folder, dtype: torch.dtype) -> None:
    cache = LatentCache(folder, "revision")
    assert cache.get(KEY) is None
    cache.put(KEY, latents(dtype))
    found = cache.get(KEY)
    assert found is not None and found.dtype == dtype and torch.equal(found, latents(dtype))
    assert [info.key for info in folder.list()] == [f"revision/base/ab/{'ab' * 32}.safetensors"]


def test_who_comes_second_changes_nothing(folder: Folder) -> None:
    cache = LatentCache(folder, "revision")
    cache.put(KEY, latents())
    before = folder.info(cache.key(KEY)).etag
    cache.put(KEY, latents())
    assert folder.info(cache.key(KEY)).etag == before


@pytest.mark.parametrize(
    "other", [replace(KEY, mode="large"), replace(KEY, image_sha256="cd" * 32), replace(KEY, shape=(273, 4))]
)
def test_another_page_or_mode_or_width_is_a_miss(folder: Folder, other: PageKey) -> None:
    cache = LatentCache(folder, "revision")
    cache.put(KEY, latents())
    assert cache.get(other) is None


def test_another_models_latents_are_a_miss(folder: Folder) -> None:
    LatentCache(folder, "one").put(KEY, latents())
    assert LatentCache(folder, "two").get(KEY) is None


def _damage(data: bytes, how: str) -> bytes:
    match how:
        case "cut":
            return data[:-100]
        case "empty":
            return b""
        case "flipped bit":
            return data[:-1] + bytes([data[-1] ^ 1])
        case "header of nonsense":
            return b"\xff" * 8 + data[8:]
        case "no description":
            return bytes(save({"latents": latents()}))
        case "integers":
            return bytes(save({"latents": latents().to(torch.int16)}))
        case _:
            return bytes(save({"something else": latents()}))


@pytest.mark.parametrize(
    "how", ["cut", "empty", "flipped bit", "header of nonsense", "no description", "integers", "another name"]
)
def test_what_is_damaged_is_missing_said_and_made_again(
    folder: Folder, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = LatentCache(folder, "revision")
    cache.put(KEY, latents())
    folder.put(cache.key(KEY), _damage(folder.get(cache.key(KEY)), how))
    with caplog.at_level(logging.WARNING):
        assert cache.get(KEY) is None
    assert KEY.image_sha256 in caplog.text
    cache.put(KEY, latents())
    found = cache.get(KEY)
    assert found is not None and torch.equal(found, latents())


def test_an_object_in_the_wrong_place_is_missing(folder: Folder) -> None:
    """The same shape, all whole, and yet another page's."""
    cache = LatentCache(folder, "revision")
    other = replace(KEY, image_sha256="cd" * 32)
    cache.put(KEY, latents())
    folder.put(cache.key(other), folder.get(cache.key(KEY)))
    assert cache.get(other) is None


def test_latents_of_another_shape_are_not_kept(folder: Folder) -> None:
    with pytest.raises(ValueError, match="for a page of"):
        LatentCache(folder, "revision").put(KEY, latents(shape=(111, 8)))


class _BrokenFolder(LocalFolder):
    """A store that answers nothing."""

    def get(self, key: str) -> bytes:
        raise StorageError("the store is down")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        raise StorageError("the store is down")


def test_a_store_that_is_down_costs_the_cache_and_no_page(caplog: pytest.LogCaptureFixture) -> None:
    cache = LatentCache(_BrokenFolder("/nowhere"), "revision")
    assert cache.get(KEY) is None
    cache.put(KEY, latents())
    assert caplog.text.count("the store is down") == 2
