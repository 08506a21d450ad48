"""Counts as drawings: matplotlib's SVG, to be put into HTML as it is.

Text stays text and colours are CSS variables of the page (`page.css`), so that drawings follow its fonts and its light
or dark theme; there is no script in them. Labels are untrusted: matplotlib escapes them, and does not read them as
mathematics. Knows nothing of what is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from quire.report.histograms import Histogram, Timeline

_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--soft)",
    "#030303": "var(--line)",
    "#111111": "var(--good)",
    "#121212": "var(--other)",
    "#131313": "var(--plain)",
    "#141414": "var(--bad)",
    "#151515": "var(--warn)",
}
"""Placeholder colours, and what replaces them in the page."""
_INK, _SOFT, _LINE, _GOOD, _OTHER, _PLAIN, _BAD, _WARN = _COLOURS
_COLOUR_OF = {
    **{"ocr": _GOOD, "ok": _GOOD, "text_layer": _OTHER, "blank": _PLAIN, "without a row": _LINE},
    **{"failed": _BAD, "loop": _WARN, "truncated": _OTHER},
}
_HOST_COLOURS = (_WARN, _OTHER, _BAD, _PLAIN, _SOFT)
_STYLE: dict[Any, Any] = {
    "date.converter": "concise",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": _LINE,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_COUNTED_ID = re.compile(r' id="[\w.]+_\d+"')  # the same in every drawing, but an id must be unique in a page
_LABEL_MAX_CHARS = 26
_BAR = 0.62
_SMALL_IN, _WIDE_IN = 4.7, 12.0
_PLOT_HEIGHT_IN = 2.4
_BAR_HEIGHT_IN = 0.42


def throughput(timeline: Timeline) -> Markup:
    """Pages a second over time, all hosts together; of several hosts the five busiest as lines."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _new(_WIDE_IN, _PLOT_HEIGHT_IN)
        edges, hosts = timeline.edges(), timeline.hosts
        axes.stairs(timeline.rates(hosts), edges, fill=True, color=_GOOD, alpha=0.25, label="all hosts")
        axes.stairs(timeline.rates(hosts), edges, color=_GOOD, linewidth=1.2)
        if len(hosts) > 1:
            for host, colour in zip(hosts, _HOST_COLOURS, strict=False):
                axes.stairs(timeline.rates([host]), edges, color=colour, linewidth=1.2, label=_label(host))
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=6, fontsize=9)
        axes.margins(x=0)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_ylabel("pages/s")
        return _svg(figure, "Pages a second over time")


def bars(counts: Mapping[str, int], title: str, *, is_wide: bool = False) -> Markup:
    """One horizontal bar for each name, in the order given, with its number."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _new(_WIDE_IN if is_wide else _SMALL_IN, 0.2 + _BAR_HEIGHT_IN * len(counts))
        colours = [_COLOUR_OF.get(name, _BAD) for name in counts]
        drawn = axes.barh(range(len(counts)), list(counts.values()), color=colours, height=_BAR)
        axes.bar_label(drawn, labels=[f"{count:,}" for count in counts.values()], padding=5, color=_INK)
        _lay_down(axes, list(counts))
        return _svg(figure, title)


def stacked_bars(rows: Mapping[str, Mapping[str, int]], title: str) -> Markup:
    """One horizontal bar a row, made of the row's counts by name. All rows have the same names."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _new(_SMALL_IN, 0.7 + _BAR_HEIGHT_IN * len(rows))
        names = [name for name in next(iter(rows.values())) if any(counts[name] for counts in rows.values())]
        left = [0] * len(rows)
        for name in names:
            widths = [counts[name] for counts in rows.values()]
            colour = _COLOUR_OF.get(name, _BAD)
            axes.barh(range(len(rows)), widths, left=left, color=colour, height=_BAR, label=_label(name))
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for position, total in enumerate(left):
            axes.annotate(f"{total:,}", (total, position), (5, 0), textcoords="offset points", va="center")
        _lay_down(axes, list(rows))
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.02), ncols=4, fontsize=9)
        return _svg(figure, title)


def histogram(values: Histogram, unit: str, title: str, *, is_logarithmic: bool = False) -> Markup:
    """How many pages lie in each bin, from the first filled one to the last."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _new(_SMALL_IN, _PLOT_HEIGHT_IN)
        edges, counts = values.filled()
        axes.stairs(counts, list(edges), fill=True, color=_GOOD, alpha=0.55)
        axes.stairs(counts, list(edges), color=_GOOD, linewidth=1.2)
        if is_logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=_steps_in_a_decade(edges[-1] / edges[0])))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(axis="y")
        axes.set_xlabel(unit)
        axes.set_ylabel("pages")
        return _svg(figure, title)


def _steps_in_a_decade(ratio: float) -> tuple[int, ...]:
    """Where a logarithmic axis from 1 to `ratio` has its numbers: few enough to be readable."""
    return (1, 2, 5) if ratio < 100 else (1, 3) if ratio < 3000 else (1,)


def _new(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(length=0)
    return figure, axes


def _lay_down(axes: Axes, names: Sequence[str]) -> None:
    """What horizontal bars have in common: the first one on top, numbers instead of an axis."""
    axes.set_yticks(range(len(names)), [_label(name) for name in names], color=_INK)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _label(text: str) -> str:
    """The text, with "?" for characters that the font may lack, cut to fit."""
    plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _LABEL_MAX_CHARS else plain[: _LABEL_MAX_CHARS - 1] + "…"


def _svg(figure: Figure, title: str) -> Markup:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title}):  # the other ids are made from it
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    text = _COUNTED_ID.sub("", text)
    attributes = Markup('<svg role="img" aria-label="{}"').format(escape(title))
    return attributes + Markup(text[text.index("<svg") + len("<svg") :])
