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
"""Where a field's metadata have it."""

_Value = TypeVar("_Value")


def setting(default: _Value, meaning: str) -> _Value:
    """A field with this default. `meaning`: for people, and without what the type says already."""
    if isinstance(default, dict):  # which no two sections may share
        factory: Callable[[], Any] = default.copy
        return field(default_factory=factory, metadata={MEANING: meaning})
    return field(default=default, metadata={MEANING: meaning})
