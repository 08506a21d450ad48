"""DeepSeek-OCR's vision tower: views of pages in, the tokens that the decoder reads out. Plain PyTorch.

    view (side, side, 3) uint8
      ─► SAM-B       patches of 16 px; windowed attention, global in some layers     (side/16)² x 768
      ─► two convolutions of stride 2                                                (side/64)² x 1024
      ─► CLIP-L      fed with them instead of pixels; its class token is dropped     (side/64)² x 1024
      ─► both concatenated, then one linear layer                                    (side/64)² x width
    page = tiles put together into one grid, then the whole page, each row ended by a newline; one separator

Views of one size are encoded together whatever page they belong to, as many at once as the memory budget allows.
Modules are named after the published checkpoint's tensors. The architecture is that of
https://github.com/deepseek-ai/DeepSeek-OCR (MIT), written again.

It does not know vLLM, nor a page's mode: sizes and grids are enough.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from quire.deepseek_vllm.sam import Sam

MEMORY_BYTES = 2 << 30
"""Default budget for what exists only while views are encoded: enough for ten views of 1024 px at once."""

WIDTHS_OF_ACTIVATIONS = 16
"""Activations alive at the peak, in multiples of patches x SAM's width: the inner layer of its MLP twice (8), its
input and residual, and as much again for temporaries."""


class Clip(nn.Module):
    """CLIP-L's transformer over SAM's features."""

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        super().__init__()
        width = int(sizes["width"])
        self.embeddings = ClipEmbeddings(width, (sizes["image_size"] // sizes["patch_size"]) ** 2 + 1)
        self.pre_layrnorm = nn.LayerNorm(width)  # spelt as in the checkpoint
        layers = [ClipLayer(width, sizes["heads"]) for _ in range(sizes["layers"])]
        self.transformer = nn.ModuleDict({"layers": nn.Sequential(*layers)})

    def forward(self, features: Tensor) -> Tensor:
        """(views, tokens, width) → the same shape."""
        return self.transformer["layers"](self.pre_layrnorm(self.embeddings(features)))[:, 1:]


class ClipEmbeddings(nn.Module):
    """Puts the class token first and adds positions, resized to the grid at hand."""

    def __init__(self, width: int, num_positions: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.position_embedding = nn.Embedding(num_positions, width)

    def forward(self, features: Tensor) -> Tensor:
        first = self.class_embedding.expand(len(features), 1, -1)
        return torch.cat([first, features], dim=1) + self._positions(round(features.shape[1] ** 0.5))

    def _positions(self, side: int) -> Tensor:
        table = self.position_embedding.weight
        own_side = round((len(table) - 1) ** 0.5)
        if side == own_side:
            return table
        grid = table[1:].unflatten(0, (own_side, own_side)).permute(2, 0, 1)[None].float()
        grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([table[:1], grid[0].flatten(1).T.to(table.dtype)])


class ClipLayer(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(width)
        self.self_attn = ClipAttention(width, num_heads)
        self.layer_norm2 = nn.LayerNorm(width)
        self.mlp = ClipMlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class ClipAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class ClipMlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class Projector(nn.Module):
    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Linear(input_width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DeepEncoder(nn.Module):
    """The tower, with sizes from a checkpoint's `vision_config["width"]` and `projector_config`."""

    def __init__(
        self, towers: Mapping[str, Any], input_width: int, width: int, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        super().__init__()
        self.memory_bytes = memory_bytes
        self.sam_model = Sam(towers["sam_vit_b"], bias_bytes=memory_bytes // 4)
        self.vision_model = Clip(towers["clip-l-14-224"])
        self.projector = Projector(input_width, width)
        self.image_newline = nn.Parameter(torch.empty(width))
        self.view_seperator = nn.Parameter(torch.empty(width))  # spelt as in the checkpoint

    @torch.inference_mode()
    def forward(self, pages: Sequence[Sequence[Tensor]], tile_cols: Sequence[int]) -> list[Tensor]:
        """Encode pages. Each is its views, (side, side, 3) uint8 on any device, tiles row by row and the whole page
        last; `tile_cols` has its number of tile columns. Returns (tokens, width) a page, in the weights' type, on their
        device.
        """
        features = iter(self._encode([view for page in pages for view in page]))
        return [
            self._assemble([next(features) for _ in page], cols)
            for page, cols in zip(pages, tile_cols, strict=True)
        ]

    def _encode(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Features (tokens, width) of each view, without newlines."""
        by_side = defaultdict[int, list[int]](list)
        for index, view in enumerate(views):
            by_side[view.shape[0]].append(index)
        features: dict[int, Tensor] = {}
        for side, indices in by_side.items():
            step = self._views_at_once(side)
            for chunk in (indices[start : start + step] for start in range(0, len(indices), step)):
                pixels = torch.stack([views[index] for index in chunk]).to(self.image_newline.device)
                features.update(zip(chunk, self._encode_batch(pixels), strict=True))
        return [features[index] for index in range(len(views))]

    def _encode_batch(self, pixels: Tensor) -> Tensor:
        """(views, side, side, 3) uint8 → (views, tokens, width)."""
        coarse = self.sam_model(pixels)
        return self.projector(torch.cat([self.vision_model(coarse), coarse], dim=-1))

    def _views_at_once(self, side: int) -> int:
        itemsize, width = self.image_newline.element_size(), self.sam_model.width
        bytes_per_view = WIDTHS_OF_ACTIVATIONS * (side // 16) ** 2 * width * itemsize
        return max(1, self.memory_bytes // 2 // bytes_per_view)

    def _assemble(self, features: list[Tensor], tile_cols: int) -> Tensor:
        """A page's tokens from its views' features."""
        *tiles, whole = features
        parts = [self._with_newlines(whole[None], 1), self.view_seperator[None]]
        if tiles:
            parts.insert(0, self._with_newlines(torch.stack(tiles), tile_cols))
        return torch.cat(parts)

    def _with_newlines(self, tiles: Tensor, cols: int) -> Tensor:
        """(tiles, tokens, width) as one grid of `cols` tiles a row, a newline after each row of tokens."""
        side = round(tiles.shape[1] ** 0.5)
        grid = tiles.unflatten(1, (side, side)).unflatten(0, (-1, cols)).transpose(1, 2)
        grid = grid.flatten(2, 3).flatten(0, 1)  # (rows of tokens, columns of tokens, width)
        newlines = self.image_newline.expand(len(grid), 1, -1)
        return torch.cat([grid, newlines], dim=1).flatten(0, 1)


UNUSED_WEIGHTS = ("embeddings.patch_embedding.weight", "embeddings.position_ids")
"""Tensors of the published checkpoint that the tower never reads: CLIP gets features, not pixels."""


def load_encoder(
    checkpoint: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    memory_bytes: int = MEMORY_BYTES,
) -> DeepEncoder:
    """The tower alone, from a checkpoint's folder: for an encoder without vLLM, or on a GPU of its own.

    Raises `RuntimeError` if a tensor is missing, `OSError` if a file is.
    """
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    towers, projector = config["vision_config"]["width"], config["projector_config"]
    with torch.device("meta"):
        encoder = DeepEncoder(towers, projector["input_dim"], projector["n_embed"], memory_bytes)
    weights = {name: tensor.to(device, dtype) for name, tensor in _weights_of(checkpoint, encoder)}
    encoder.load_state_dict(weights, assign=True)
    return encoder.requires_grad_(False).eval()


def _weights_of(checkpoint: Path, encoder: DeepEncoder) -> Iterator[tuple[str, Tensor]]:
    wanted = set(encoder.state_dict())
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                own_name = name.removeprefix("model.")
                if own_name in wanted:
                    yield own_name, file.get_tensor(name)
