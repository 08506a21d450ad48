"""Random weights under the published tensor names, in bfloat16.

The text that such a model reads off a page is noise, but noise that depends on the page: the decoder's attention is
scaled up so that the image tokens matter, and only the tokens named likely are likely. A decoder that loops sees
nothing but its last token, and so must repeat itself.

Does not know files, nor what tokens mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from quire.deepseek_vllm.sizes import Decoder, Sizes, Tower


class _Noise:
    """Normal random numbers out of one block, taken at random places: gigabytes in seconds."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._block = torch.randn((1 << 22) + 1, generator=self._generator)

    def __call__(self, *shape: int, gain: float = 1.0) -> torch.Tensor:
        """A weight whose inputs of variance 1 give outputs of variance gain²."""
        count, fan_in = torch.Size(shape).numel(), torch.Size(shape[1:]).numel()
        start = int(torch.randint(len(self._block), (), generator=self._generator))
        values = self._block[start : start + count]
        if len(values) < count:
            repeats = (count - len(values)) // len(self._block) + 1
            values = torch.cat([values, *[self._block] * repeats])[:count]
        return values.view(shape).mul(gain / fan_in**0.5).bfloat16()


def random_weights(
    sizes: Sizes, likely: Sequence[int], seed: int, loops: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a checkpoint, by its published name. `likely`: the tokens that the decoder may say."""
    noise = _Noise(seed)
    yield from _sam(sizes.tower, noise)
    yield from _clip(sizes.tower, noise)
    width = sizes.decoder.width
    yield "model.projector.layers.weight", noise(width, 2 * sizes.tower.downsample_channels[1])
    yield "model.projector.layers.bias", _zeros(width)
    yield "model.image_newline", noise(width, 1)[:, 0]
    yield "model.view_seperator", noise(width, 1)[:, 0]
    yield from _decoder(sizes.decoder, noise, likely, loops)


def _sam(tower: Tower, noise: _Noise) -> Iterator[tuple[str, torch.Tensor]]:
    width, head_width = tower.sam_width, tower.sam_width // tower.sam_heads
    yield "model.sam_model.patch_embed.proj.weight", noise(width, 3, 16, 16, gain=4.0)
    yield "model.sam_model.patch_embed.proj.bias", _zeros(width)
    yield "model.sam_model.pos_embed", noise(64 * 64 * width, 1, gain=0.3).view(1, 64, 64, width)
    for layer in range(tower.sam_layers):
        name = f"model.sam_model.blocks.{layer}"
        positions = 127 if layer in tower.global_layers else 27
        yield from _norm(f"{name}.norm1", width)
        yield from _linear(f"{name}.attn.qkv", noise(3 * width, width))
        yield from _linear(f"{name}.attn.proj", noise(width, width))
        yield f"{name}.attn.rel_pos_h", noise(positions, head_width)
        yield f"{name}.attn.rel_pos_w", noise(positions, head_width)
        yield from _norm(f"{name}.norm2", width)
        yield from _linear(f"{name}.mlp.lin1", noise(4 * width, width))
        yield from _linear(f"{name}.mlp.lin2", noise(width, 4 * width))
    neck, (middle, last) = tower.neck_channels, tower.downsample_channels
    yield "model.sam_model.neck.0.weight", noise(neck, width, 1, 1)
    yield from _norm("model.sam_model.neck.1", neck)
    yield "model.sam_model.neck.2.weight", noise(neck, neck, 3, 3)
    yield from _norm("model.sam_model.neck.3", neck)
    yield "model.sam_model.net_2.weight", noise(middle, neck, 3, 3)
    yield "model.sam_model.net_3.weight", noise(last, middle, 3, 3)


def _clip(tower: Tower, noise: _Noise) -> Iterator[tuple[str, torch.Tensor]]:
    width = tower.downsample_channels[1]
    embeddings = "model.vision_model.embeddings"
    yield f"{embeddings}.class_embedding", noise(width, 1)[:, 0]
    yield f"{embeddings}.patch_embedding.weight", noise(width, 3, 14, 14)  # published, and used by nobody
    yield f"{embeddings}.position_embedding.weight", noise(257 * width, 1, gain=0.3).view(257, width)
    yield from _norm("model.vision_model.pre_layrnorm", width)
    for layer in range(tower.clip_layers):
        name = f"model.vision_model.transformer.layers.{layer}"
        yield from _norm(f"{name}.layer_norm1", width)
        yield from _linear(f"{name}.self_attn.qkv_proj", noise(3 * width, width))
        yield from _linear(f"{name}.self_attn.out_proj", noise(width, width))
        yield from _norm(f"{name}.layer_norm2", width)
        yield from _linear(f"{name}.mlp.fc1", noise(4 * width, width))
        yield from _linear(f"{name}.mlp.fc2", noise(width, 4 * width))


def _decoder(
    decoder: Decoder, noise: _Noise, likely: Sequence[int], loops: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    width = decoder.width
    yield "model.embed_tokens.weight", noise(decoder.vocab_size, width, gain=width**0.5)
    for layer in range(decoder.layers):
        name = f"model.layers.{layer}"
        yield f"{name}.input_layernorm.weight", _ones(width)
        yield f"{name}.self_attn.q_proj.weight", noise(width, width, gain=2.5)
        yield f"{name}.self_attn.k_proj.weight", noise(width, width, gain=2.5)
        yield f"{name}.self_attn.v_proj.weight", noise(width, width)
        yield f"{name}.self_attn.o_proj.weight", noise(width, width, gain=0.0 if loops else 3.0)
        yield f"{name}.post_attention_layernorm.weight", _ones(width)
        if layer == 0:
            yield from _gated(f"{name}.mlp", width, decoder.dense_width, noise)
            continue
        yield f"{name}.mlp.gate.weight", noise(decoder.num_experts, width)
        for expert in range(decoder.num_experts):
            yield from _gated(f"{name}.mlp.experts.{expert}", width, decoder.expert_width, noise)
        shared_width = decoder.num_shared_experts * decoder.expert_width
        yield from _gated(f"{name}.mlp.shared_experts", width, shared_width, noise)
    yield "model.norm.weight", _ones(width)
    yield "lm_head.weight", _head(decoder, noise, likely)


def _head(decoder: Decoder, noise: _Noise, likely: Sequence[int]) -> torch.Tensor:
    """Tokens other than the likely ones get a logit of zero."""
    head = _zeros(decoder.vocab_size, decoder.width)
    head[list(likely)] = noise(len(likely), decoder.width, gain=3.0)
    return head


def _gated(name: str, width: int, inner: int, noise: _Noise) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{name}.gate_proj.weight", noise(inner, width)
    yield f"{name}.up_proj.weight", noise(inner, width)
    yield f"{name}.down_proj.weight", noise(width, inner)


def _linear(name: str, weight: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", _zeros(len(weight))


def _norm(name: str, width: int) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{name}.weight", _ones(width)
    yield f"{name}.bias", _zeros(width)


def _zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.bfloat16)


def _ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.bfloat16)
