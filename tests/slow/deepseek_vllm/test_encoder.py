"""The vision tower by itself: order, batches, sizes; and the same numbers as vLLM's own modules."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from quire.deepseek_vllm.encoder import DeepEncoder, load_encoder
from quire.deepseek_vllm.inputs import PageViews, page_views
from quire.deepseek_vllm.sizes import SIZES, Sizes, Tower
from quire.jobs.bench.checkpoint import write_checkpoint
from tests.slow.deepseek_vllm.pages import SLIDE, page_image

# Of the published 12 and 24, which are alike, but for attention in SAM's: within a window, or over the whole view.
_SAM_LAYERS, _SAM_GLOBAL, _CLIP_LAYERS = 3, (2,), 2
_WIDE = Sizes(
    Tower(sam_layers=_SAM_LAYERS, global_layers=_SAM_GLOBAL, clip_layers=_CLIP_LAYERS), SIZES["small"].decoder
)


@pytest.fixture(scope="module")
def encoder(small_checkpoint: Path) -> DeepEncoder:
    return load_encoder(small_checkpoint, dtype=torch.float32)


@pytest.fixture(scope="module")
def pages() -> list[PageViews]:
    asked = [("tiny", 0), ("small", 1), ("tiny", 2), ("gundam", 3), ("small", 4)]
    return [page_views(page_image(mode, seed, SLIDE)) for mode, seed in asked]


@pytest.fixture(scope="module")
def together(encoder: DeepEncoder, pages: list[PageViews]) -> list[torch.Tensor]:
    return _encode(encoder, pages)


def _encode(encoder: DeepEncoder, pages: list[PageViews]) -> list[torch.Tensor]:
    return encoder([page.views for page in pages], [page.tile_cols for page in pages])


def test_every_mode_has_its_tokens(pages: list[PageViews], together: list[torch.Tensor]) -> None:
    assert [tuple(latents.shape) for latents in together] == [(page.num_tokens, 256) for page in pages]


def test_together_is_as_one_by_one(
    encoder: DeepEncoder, pages: list[PageViews], together: list[torch.Tensor]
) -> None:
    for page, latents in zip(pages, together, strict=True):
        torch.testing.assert_close(latents, _encode(encoder, [page])[0], rtol=1e-4, atol=1e-4)
    assert (together[0] - together[2]).abs().max() > 0.1, "two pages look the same"


def test_a_small_budget_slices_and_changes_nothing(
    small_checkpoint: Path, pages: list[PageViews], together: list[torch.Tensor]
) -> None:
    frugal = load_encoder(small_checkpoint, dtype=torch.float32, memory_bytes=1)
    for latents, expected in zip(_encode(frugal, pages), together, strict=True):
        torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def test_views_of_one_size_share_a_batch_across_pages(encoder: DeepEncoder, pages: list[PageViews]) -> None:
    batches: list[tuple[int, ...]] = []
    hook = encoder.sam_model.register_forward_pre_hook(
        lambda _, inputs: batches.append(tuple(inputs[0].shape[:2]))
    )
    _encode(encoder, pages)
    hook.remove()
    assert sorted(batches) == [(1, 1024), (2, 512), (4, 640)]  # two small pages and two tiles


def test_tiles_come_row_by_row_with_newlines_and_the_whole_page_last(encoder: DeepEncoder) -> None:
    """Each view's features say which view and which token they are."""
    tiles = [torch.stack([torch.full((256,), 1000.0 * tile + token) for token in range(4)]) for tile in range(6)]
    whole = torch.full((1, 256), 9000.0)
    tokens = encoder._assemble([*tiles, whole], tile_cols=3)[:, 0].tolist()
    newline, separator = (float(weight[0]) for weight in (encoder.image_newline, encoder.view_seperator))
    above = [0, 1, 1000, 1001, 2000, 2001, newline, 2, 3, 1002, 1003, 2002, 2003, newline]
    below = [3000, 3001, 4000, 4001, 5000, 5001, newline, 3002, 3003, 4002, 4003, 5002, 5003, newline]
    assert tokens == pytest.approx([*above, *below, 9000, newline, separator])


def test_a_missing_tensor_is_named(small_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(small_checkpoint, tmp_path / "cut")
    weights = load_file(tmp_path / "cut" / "model-00001.safetensors")
    del weights["model.sam_model.net_3.weight"]
    save_file(weights, tmp_path / "cut" / "model-00001.safetensors")
    with pytest.raises(RuntimeError, match=r"sam_model\.net_3\.weight"):
        load_encoder(tmp_path / "cut")


def test_it_loads_in_bfloat16_by_default(small_checkpoint: Path, pages: list[PageViews]) -> None:
    assert _encode(load_encoder(small_checkpoint), pages[:1])[0].dtype == torch.bfloat16


@pytest.mark.parametrize("side", [512, pytest.param(640, marks=pytest.mark.soak)])
def test_it_computes_what_vllms_own_modules_do(
    full_tower: DeepEncoder, stock_tower: tuple[Any, Any], side: int
) -> None:
    """At full width, from the pixels on: SAM, the convolutions, CLIP, both interpolated to the view's size."""
    generator = torch.Generator().manual_seed(side)
    pixels = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8, generator=generator)
    sam, clip = stock_tower
    with torch.inference_mode():
        normal = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        coarse = sam(normal)
        both = torch.cat([clip(normal, coarse)[:, 1:], coarse.flatten(2).transpose(1, 2)], dim=-1)
        expected = full_tower.projector(both)
        actual = full_tower._encode_batch(pixels)
    assert expected.std() > 1
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def full_tower(tmp_path_factory: pytest.TempPathFactory) -> DeepEncoder:
    directory = write_checkpoint(tmp_path_factory.mktemp("tower"), _WIDE)
    encoder = load_encoder(directory, dtype=torch.float32)
    shutil.rmtree(directory)
    return encoder


@pytest.fixture(scope="module")
def stock_tower(full_tower: DeepEncoder, environment: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """vLLM's SAM and CLIP with the same weights. Its own layers need a world of one process around them."""
    from transformers import CLIPVisionConfig
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
    from vllm.model_executor.models.deepencoder import DeepCLIPVisionTransformer, _build_sam

    with set_current_vllm_config(VllmConfig()):
        meeting = f"file://{tmp_path_factory.mktemp('world') / 'meeting'}"
        init_distributed_environment(1, 0, meeting, 0, "gloo")
        ensure_model_parallel_initialized(1, 1)
        sam = _build_sam(768, _SAM_LAYERS, 12, _SAM_GLOBAL)
        sizes = {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": _CLIP_LAYERS,
            "num_attention_heads": 16,
        }
        clip = DeepCLIPVisionTransformer(CLIPVisionConfig(**sizes, image_size=224, patch_size=14))
    sam.load_state_dict(full_tower.sam_model.state_dict())
    missing = clip.load_state_dict(full_tower.vision_model.state_dict(), strict=False)
    assert missing.missing_keys == ["embeddings.patch_embedding.weight"] and not missing.unexpected_keys
    for module in clip.modules():
        if hasattr(module, "quant_method"):
            module.quant_method.process_weights_after_loading(module)
    return sam, clip
