"""How fast DeepSeek-OCR can be on a card: arithmetic over sizes, rates and lengths. It measures nothing.

A page costs the encoder's and the prefill's multiplications, and its share of the decoder's steps. A step reads all of
the decoder's weights (a batch of 64 or more touches every expert) and the cache of every request in the batch. The
reading takes longer than the multiplications, which run at the same time, until the batch is far larger than memory
allows.

"Ideal" means that the card reaches its full rates; "realistic", the shares of them below, which good kernels reach.
Sizes are those of `sizes.py`; 2 bytes a weight and a value in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quire.deepseek_vllm.sizes import SIZES, Decoder, Sizes, Tower
from quire.rasterize.modes import Layout

_ITEM_BYTES = 2
_WINDOW = 14
NUM_PROMPT_TOKENS = 15
"""Of the usual prompt, beside the page's own."""


@dataclass(frozen=True, slots=True)
class Card:
    """Bytes a second of its memory and operations a second of dense bfloat16 products, by its data sheet."""

    name: str
    bytes_per_s: float
    flop_per_s: float


CARDS = (
    Card("A100-40G", 1.555e12, 312e12),
    Card("A100-80G", 2.039e12, 312e12),
    Card("H100", 3.35e12, 989e12),
    Card("H200", 4.8e12, 989e12),
    Card("L40S", 0.864e12, 362e12),
)


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of its rates a card reaches."""

    memory: float
    products: float


IDEAL = Shares(1.0, 1.0)
REALISTIC = Shares(memory=0.7, products=0.4)


def card_of(device_name: str, memory_gib: float) -> Card | None:
    """The card behind the name that CUDA gives a device; None if it is none of ours."""
    for card in CARDS:
        model = card.name.removesuffix("-40G").removesuffix("-80G")
        is_its_size = not card.name.startswith("A100") or (memory_gib > 60) == card.name.endswith("-80G")
        if model in device_name and is_its_size:
            return card
    return None


def pages_per_s(
    card: Card,
    page: Layout,
    num_seqs: int,
    num_output_tokens: Sequence[int] = (1000,),
    shares: Shares = IDEAL,
    sizes: Sizes = SIZES["full"],
) -> float:
    """Pages a second when `num_seqs` pages with answers of the given lengths are decoded at once."""
    sides_px = [side_px for side_px, *_ in page.view_shapes]
    reading_s = read_s(card, sides_px, page.num_image_tokens, shares, sizes)
    return 1 / (reading_s + write_s(card, page.num_image_tokens, num_output_tokens, num_seqs, shares, sizes))


def read_s(
    card: Card,
    view_sides_px: Sequence[int],
    num_image_tokens: int,
    shares: Shares = IDEAL,
    sizes: Sizes = SIZES["full"],
) -> float:
    """Seconds to encode a page's views, and for the prefill of their tokens."""
    flop = sum(view_flop(side_px, sizes.tower) for side_px in view_sides_px)
    flop += prefill_flop(num_image_tokens + NUM_PROMPT_TOKENS, sizes.decoder)
    return flop / (card.flop_per_s * shares.products)


def write_s(
    card: Card,
    num_image_tokens: int,
    num_output_tokens: Sequence[int],
    num_seqs: int,
    shares: Shares = IDEAL,
    sizes: Sizes = SIZES["full"],
) -> float:
    """A page's share of the seconds of its decoder's steps, `num_seqs` pages at a time."""
    num_tokens = sum(num_output_tokens) / len(num_output_tokens)
    # Averaged over steps, not over requests: a long answer takes part in more steps.
    num_written = sum(n * n for n in num_output_tokens) / sum(num_output_tokens) / 2
    num_cached = num_image_tokens + NUM_PROMPT_TOKENS + num_written
    step_s = max(
        step_bytes(sizes.decoder, num_seqs, num_cached) / (card.bytes_per_s * shares.memory),
        num_seqs * _token_flop(sizes.decoder, num_cached, with_head=True) / (card.flop_per_s * shares.products),
    )
    return step_s * num_tokens / num_seqs


def step_bytes(decoder: Decoder, num_seqs: int, num_cached: float) -> float:
    """What one step of the decoder reads."""
    return _ITEM_BYTES * _num_weights(decoder) + num_seqs * num_cached * cache_bytes_per_token(decoder)


def cache_bytes_per_token(decoder: Decoder = SIZES["full"].decoder) -> int:
    return 2 * decoder.width * _ITEM_BYTES * decoder.layers


def prefill_flop(num_tokens: int, decoder: Decoder = SIZES["full"].decoder) -> float:
    """Of a prompt. Only its last token goes through the head; each token attends to half of them on average."""
    return num_tokens * _token_flop(decoder, num_tokens / 2, with_head=False) + 2 * _head_weights(decoder)


def encoder_flop(page: Layout, tower: Tower = SIZES["full"].tower) -> float:
    """Of all views of a page."""
    return sum(view_flop(side, tower) for side, *_ in page.view_shapes)


def view_flop(side_px: int, tower: Tower = SIZES["full"].tower) -> float:
    """SAM, the convolutions behind it, CLIP and the projector. Biases, norms and softmax are left out."""
    side, width = side_px // 16, tower.sam_width
    patches, tokens = side * side, (side // 4) ** 2
    num_global = len(tower.global_layers)
    padded = (-(-side // _WINDOW) * _WINDOW) ** 2  # windows at the edge are filled up
    sam = 2.0 * patches * 3 * 16 * 16 * width
    sam += tower.sam_layers * 2 * patches * 8 * width * width  # the layers behind attention
    sam += num_global * _attention_flop(patches, patches, width)
    sam += (tower.sam_layers - num_global) * _attention_flop(padded, _WINDOW**2, width)
    # The relative position bias: every query with each row and each column that it attends to.
    sam += 2 * width * (num_global * patches * 2 * side + (tower.sam_layers - num_global) * padded * 2 * _WINDOW)
    neck, (middle, last) = tower.neck_channels, tower.downsample_channels
    convolutions = (
        patches * neck * (width + 9 * neck) + patches // 4 * 9 * neck * middle + tokens * 9 * middle * last
    )
    clip = tower.clip_layers * (_attention_flop(tokens + 1, tokens + 1, last) + 2 * (tokens + 1) * 8 * last * last)
    projector = 2 * tokens * 2 * last * SIZES["full"].decoder.width
    return sam + 2 * convolutions + clip + projector


def _attention_flop(num_queries: int, num_keys: int, width: int) -> float:
    """With the four products of weights around it."""
    return 2 * num_queries * 4 * width * width + 4 * num_queries * num_keys * width


def _token_flop(decoder: Decoder, num_cached: float, *, with_head: bool) -> float:
    """One token through the decoder: two operations a weight that it meets, and attention."""
    experts = decoder.experts_per_token + decoder.num_shared_experts
    weights = _num_weights(decoder, num_experts=experts) - (0 if with_head else _head_weights(decoder))
    return 2 * weights + 4 * num_cached * decoder.width * decoder.layers


def _num_weights(decoder: Decoder, num_experts: int | None = None) -> int:
    """Weights that multiply: all but the table of embeddings. `num_experts` counts shared ones in; all if None."""
    if num_experts is None:
        num_experts = decoder.num_experts + decoder.num_shared_experts
    width = decoder.width
    attention = decoder.layers * 4 * width * width
    router = decoder.num_experts * width
    sparse = (decoder.layers - 1) * (num_experts * 3 * width * decoder.expert_width + router)
    return attention + 3 * width * decoder.dense_width + sparse + _head_weights(decoder)


def _head_weights(decoder: Decoder) -> int:
    return decoder.vocab_size * decoder.width
