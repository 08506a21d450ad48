"""Numbers in words: singular or plural of what is counted, and units in which a small number does not become 0."""

from __future__ import annotations

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 page`, `37 pages`, `1,234 pages`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """An approximate duration, in two or three digits."""
    if seconds < 1.5 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:,.1f} days"


def device_time(hours: float, unit: str) -> str:
    """Of GPUs or cores: `12 core-seconds`, `3.5 core-minutes`, `1,200 GPU-hours`."""
    seconds = hours * _HOUR_S
    if seconds < _MINUTE_S:
        return f"{seconds:.2g} {unit}-seconds"
    if hours < 1:
        return f"{seconds / _MINUTE_S:.1f} {unit}-minutes"
    return f"{hours:,.1f} {unit}-hours" if hours < 100 else f"{hours:,.0f} {unit}-hours"


def dollars(number: float) -> str:
    """Only 0 is shown as `$0.00`."""
    if 0 < number < 0.01:
        return "under $0.01"
    return f"${number:,.2f}"


def rate(seconds_each: float, noun: str) -> str:
    """A speed: `40 pages/s`, `1.5 pages/s`, and `4.2 s/page` below one a second."""
    if seconds_each > 1:
        return f"{seconds_each:.{1 if seconds_each < 10 else 0}f} s/{noun}"
    per_s = 1 / max(seconds_each, 1e-9)
    return f"{per_s:,.{1 if per_s < 10 else 0}f} {noun}s/s"
