"""SAM-B's image encoder with the two convolutions that DeepSeek-OCR puts behind it. Plain PyTorch.

Attention adds a bias that depends on the distance between two patches along each axis. The bias of one view of
1024 px takes 400 MB in bfloat16 where attention is global, so it is made for a few views at a time.

Modules are named after the published checkpoint's tensors. It does not know pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH_PX = 16
TABLE_SIDE = 64
"""Patches a side that the tables of positions are made for; other sizes interpolate."""
WINDOW = 14


class Sam(nn.Module):
    """`sizes` is `vision_config["width"]["sam_vit_b"]`; `bias_bytes` bounds the bias that exists at once."""

    def __init__(self, sizes: Mapping[str, Any], bias_bytes: int) -> None:
        super().__init__()
        self.width = width = int(sizes["width"])
        neck, (middle, last) = sizes.get("neck_channels", 256), sizes["downsample_channels"]
        self.patch_embed = PatchEmbedding(width)
        self.pos_embed = nn.Parameter(torch.empty(1, TABLE_SIDE, TABLE_SIDE, width))
        self.blocks = nn.ModuleList(
            Block(width, sizes["heads"], 0 if layer in sizes["global_attn_indexes"] else WINDOW, bias_bytes)
            for layer in range(sizes["layers"])
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, neck, 1, bias=False),
            ChannelNorm(neck, eps=1e-6),
            nn.Conv2d(neck, neck, 3, padding=1, bias=False),
            ChannelNorm(neck, eps=1e-6),
        )
        self.net_2 = nn.Conv2d(neck, middle, 3, 2, 1, bias=False)
        self.net_3 = nn.Conv2d(middle, last, 3, 2, 1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(views, side, side, 3) uint8 → (views, (side / 64)², channels)."""
        x = self.patch_embed(pixels)
        x = x + _resized(self.pos_embed, x.shape[1])
        for block in self.blocks:
            x = block(x)
        x = self.net_3(self.net_2(self.neck(x.permute(0, 3, 1, 2))))
        return x.flatten(2).transpose(1, 2)


class PatchEmbedding(nn.Module):
    """A convolution whose stride is its size, as one matrix product. Pixels become floats here and not before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH_PX, PATCH_PX)

    def forward(self, pixels: Tensor) -> Tensor:
        """(views, side, side, 3) uint8 → (views, side / 16, side / 16, width)."""
        patches = pixels.unflatten(2, (-1, PATCH_PX)).unflatten(1, (-1, PATCH_PX))
        patches = patches.permute(0, 1, 3, 5, 2, 4).flatten(3)  # (views, rows, columns, 3 x 16 x 16)
        normal = patches.float().div_(255).sub_(0.5).div_(0.5).to(self.proj.weight.dtype)
        return F.linear(normal, self.proj.weight.flatten(1), self.proj.bias)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (views, channels, rows, columns)."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels, eps)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A transformer layer whose attention is global, or (window > 0) within square windows."""

    def __init__(self, width: int, num_heads: int, window: int, bias_bytes: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, num_heads, window or TABLE_SIDE, bias_bytes)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x)
        attended = self._within_windows(normal) if self.window else self.attn(normal)
        x = x + attended
        return x + self.mlp(self.norm2(x))

    def _within_windows(self, x: Tensor) -> Tensor:
        """Views whose side is no multiple of the window are padded with zeros, which take part in attention."""
        side = x.shape[1]
        missing = -side % self.window
        x = F.pad(x, (0, 0, 0, missing, 0, missing))
        grid = (-1, self.window)
        windows = x.unflatten(2, grid).unflatten(1, grid).transpose(2, 3)  # (views, rows, columns, window, window)
        attended = self.attn(windows.flatten(0, 2)).view(windows.shape)
        return attended.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :side, :side]


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, 4 * width)
        self.lin2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.gelu(self.lin1(x)))


class Attention(nn.Module):
    """Multi-head attention over a square of patches, biased by their distance along each axis."""

    def __init__(self, width: int, num_heads: int, table_side: int, bias_bytes: int) -> None:
        super().__init__()
        self.num_heads, self.bias_bytes = num_heads, bias_bytes
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.empty(2 * table_side - 1, width // num_heads))
        self.rel_pos_w = nn.Parameter(torch.empty(2 * table_side - 1, width // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """(squares, side, side, width) → the same shape."""
        side = x.shape[1]
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        rows, columns = self._distances(q, side)
        step = self._squares_at_once(q)
        slices = [slice(start, start + step) for start in range(0, len(x), step)]
        attended = [
            F.scaled_dot_product_attention(q[i], k[i], v[i], attn_mask=_bias(rows[i], columns[i])) for i in slices
        ]
        together = attended[0] if len(attended) == 1 else torch.cat(attended)
        return self.proj(together.transpose(1, 2).flatten(2).view(x.shape))

    def _distances(self, q: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """What each query adds for each row and each column of keys: (squares, heads, side², side) twice."""
        queries = q.unflatten(2, (side, side))
        rows = torch.einsum("bnhwc,hkc->bnhwk", queries, _by_distance(self.rel_pos_h, side))
        columns = torch.einsum("bnhwc,wkc->bnhwk", queries, _by_distance(self.rel_pos_w, side))
        return rows.flatten(2, 3), columns.flatten(2, 3)

    def _squares_at_once(self, q: Tensor) -> int:
        return max(1, self.bias_bytes // (self.num_heads * q.shape[2] ** 2 * q.element_size()))


def _bias(rows: Tensor, columns: Tensor) -> Tensor:
    return (rows[..., :, None] + columns[..., None, :]).flatten(-2)


def _by_distance(table: Tensor, side: int) -> Tensor:
    """The table's entry for each pair of places along an axis: (side, side, head width)."""
    if len(table) != 2 * side - 1:
        resized = F.interpolate(table.T[None].float(), size=2 * side - 1, mode="linear")
        table = resized[0].T.to(table.dtype)
    places = torch.arange(side, device=table.device)
    return table[places[:, None] - places[None, :] + side - 1]


def _resized(positions: Tensor, side: int) -> Tensor:
    if positions.shape[1] == side:
        return positions
    grid = positions.permute(0, 3, 1, 2).float()
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return grid.permute(0, 2, 3, 1).to(positions.dtype)
