"""The figures of the engine benchmark as Markdown tables. Knows their columns and nothing of how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]

_COLUMNS: dict[str, tuple[str, dict[str, str]]] = {
    "encoder": (
        "Encoder, ms a page",
        {
            "mode": "mode",
            "pages": "pages a call",
            "one_by_one_ms": "one by one",
            "batched_ms": "batched",
            "ratio": "ratio",
            "tflop_per_s": "TFLOP/s batched",
        },
    ),
    "pixels": (
        "Pixels to the device, ms a page (to a CPU nothing is sent)",
        {
            "mode": "mode",
            "uint8_bytes": "bytes as uint8",
            "float32_bytes": "as float32",
            "uint8_ms": "uint8, sent and normalised",
            "host_ms": "float32, normalised by the host",
            "float32_ms": "and sent",
            "ratio": "ratio",
        },
    ),
    "guard": (
        "Repetition guard, ms a step",
        {
            "requests": "requests",
            "ban_ms": "ours, the ban",
            "lists_ms": "ours, following lists",
            "both_ms": "ours, both",
            "python_ms": "Python, request by request",
            "ratio": "ratio",
            "python_rule": "whose",
        },
    ),
    "host": (
        "Host, CPU ms a page from views (ours) or a page image (stock) to the model's pixels",
        {"mode": "mode", "ours_ms": "ours", "stock_ms": "stock's way", "ratio": "ratio"},
    ),
    "messages": (
        "What crosses to the engine's process a page",
        {
            "side": "side",
            "mode": "mode",
            "bytes": "bytes",
            "process_ms": "vLLM's front end, CPU ms",
            "encode_ms": "encoding, CPU ms",
        },
    ),
    "throughput": (
        "Pages with answers of forced lengths; ratios are to stock, which is always gundam",
        {
            "side": "side",
            "mode": "mode",
            "requests": "in flight",
            "spread": "lengths",
            "pages": "pages",
            "pages_per_s": "pages/s",
            "tokens_per_s": "tokens/s",
            "num_forced": "answers of the forced length",
            "ratio": "ratio",
            "ideal_pages_per_s": "roofline, ideal",
            "realistic_pages_per_s": "realistic",
            "share_of_ideal": "share of ideal",
            "share_of_realistic": "of realistic",
        },
    ),
}


def table(name: str, rows: Rows) -> str:
    """The table of one part, with its title."""
    title, columns = _COLUMNS[name]
    lines = [f"\n**{title}**\n", _line(columns.values()), _line(["---"] * len(columns))]
    lines += [_line(_cell(row.get(key)) for key in columns) for row in rows]
    return "\n".join(lines)


def with_ratios(rows: Rows) -> list[dict[str, Any]]:
    """Throughput rows with their ratio to stock's row of the same requests and lengths, where there is one."""
    stock = {(row["requests"], row["spread"]): row["pages_per_s"] for row in rows if row["side"] == "stock"}
    return [{**row, "ratio": _ratio(row, stock.get((row["requests"], row["spread"])))} for row in rows]


def _ratio(row: Mapping[str, Any], stock: float | None) -> float | None:
    return None if row["side"] == "stock" or not stock else row["pages_per_s"] / stock


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
