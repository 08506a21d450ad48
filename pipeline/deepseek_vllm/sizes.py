"""Sizes of DeepSeek-OCR: the published model's, and smaller ones of the same shape for tests.

Knows numbers alone: neither weights nor vLLM.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tower:
    """Sizes of the vision tower; the defaults are the published model's."""

    sam_width: int = 768
    sam_layers: int = 12
    sam_heads: int = 12
    global_layers: tuple[int, ...] = (2, 5, 8, 11)
    neck_channels: int = 256
    downsample_channels: tuple[int, int] = (512, 1024)  # the second is also CLIP's width
    clip_layers: int = 24
    clip_heads: int = 16


@dataclass(frozen=True, slots=True)
class Decoder:
    """Sizes of the decoder; the defaults are the published model's. The first layer is dense."""

    width: int = 1280
    layers: int = 12
    heads: int = 10
    dense_width: int = 6848
    expert_width: int = 896
    num_experts: int = 64
    experts_per_token: int = 6
    num_shared_experts: int = 2
    vocab_size: int = 129_280
    first_special_id: int = 128_815
    max_tokens: int = 8192


@dataclass(frozen=True, slots=True)
class Sizes:
    tower: Tower = field(default_factory=Tower)
    decoder: Decoder = field(default_factory=Decoder)


_SMALL_TOWER = Tower(
    sam_width=64,
    sam_layers=2,
    sam_heads=2,
    global_layers=(1,),
    neck_channels=64,
    downsample_channels=(64, 128),
    clip_layers=2,
    clip_heads=2,
)
_SMALL_DECODER = Decoder(
    width=256,
    layers=2,
    heads=4,
    dense_width=512,
    expert_width=128,
    num_experts=4,
    experts_per_token=2,
    vocab_size=288,
    first_special_id=259,
)
SIZES = {
    "small": Sizes(_SMALL_TOWER, _SMALL_DECODER),
    "tower": Sizes(Tower(), _SMALL_DECODER),
    "full": Sizes(),
}
