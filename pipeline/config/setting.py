"""What a setting is: a field of a section, with its meaning beside its default, and the ranges of its values.

The meaning is data, which `quire settings` and `docs/settings.md` show. Knows no setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le

Positive = Annotated[int, Gt(0)]
Count = Annotated[int, Ge(0)]
Seconds = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
Amount = Annotated[float, Ge(0)]
Temperature = Annotated[float, Ge(0), Le(2)]

MEANING = "meaning"
"""The key of the meaning in a field's metadata."""

_Value = TypeVar("_Value")


def setting(default: _Value, meaning: str) -> _Value:
    """A field with this default. `meaning` is for people, and does not repeat what the type says."""
    if isinstance(default, dict):  # two sections must not share one
        factory: Callable[[], Any] = default.copy
        return field(default_factory=factory, metadata={MEANING: meaning})
    return field(default=default, metadata={MEANING: meaning})
