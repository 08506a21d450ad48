"""Every setting in words: its meaning, its values, and whether it changes results. Made only from the sections."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, MinLen

from quire.config.results import is_result_setting
from quire.config.setting import MEANING
from quire.config.settings import Settings

_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "value"}


@dataclass(frozen=True, slots=True)
class Described:
    """One setting. `default` is None if it has none. `kind` is its type without ranges and without None."""

    section: str
    name: str
    default: Any
    kind: Any
    allowed: str
    meaning: str
    changes_results: bool

    @property
    def full_name(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def is_list(self) -> bool:
        return get_origin(self.kind) is tuple

    @property
    def is_table(self) -> bool:
        return get_origin(self.kind) is Mapping


def sections() -> dict[str, str]:
    """The sections' names, and what each is about, in paragraphs of one line."""
    kinds = get_type_hints(Settings)
    return {name: "\n".join(map(_one_line, _paragraphs(kind))) for name, kind in kinds.items()}


def described() -> dict[str, Described]:
    """All settings by "section.name", in order."""
    every = [
        _described(section, field, hint)
        for section, kind in get_type_hints(Settings).items()
        for field, hint in zip(
            dataclasses.fields(kind), get_type_hints(kind, include_extras=True).values(), strict=True
        )
    ]
    return {one.full_name: one for one in every}


def _described(section: str, field: dataclasses.Field[Any], hint: Any) -> Described:
    factory = field.default_factory
    return Described(
        section=section,
        name=field.name,
        default=field.default if factory is dataclasses.MISSING else factory(),
        kind=_bare(hint),
        allowed=_allowed(hint),
        meaning=field.metadata[MEANING],
        changes_results=is_result_setting(section, field.name),
    )


def _bare(hint: Any) -> Any:
    """A type without ranges, and without None."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        (one,) = (inner for inner in get_args(hint) if inner is not type(None))
        return _bare(one)
    return hint


def _allowed(hint: Any) -> str:
    """The values of a type in words."""
    arguments = get_args(hint)
    match get_origin(hint):
        case origin if origin is Annotated:
            return " ".join([_allowed(arguments[0]), *map(_range, arguments[1:])])
        case origin if origin in (Union, types.UnionType):
            return f"{_allowed(arguments[0])}, or not set"
        case origin if origin is Literal:
            return ", ".join(f'"{value}"' for value in arguments)
        case origin if origin is tuple:
            return f"list of {_allowed(arguments[0])}s"
        case None:
            return _PLAIN[hint]
        case _:
            return "table"


def _range(bound: object) -> str:
    match bound:
        case Gt(gt):
            return f"above {gt}"
        case Ge(ge):
            return f"from {ge}"
        case Le(le):
            return f"to {le}"
        case MinLen(least):
            return f"({least} or more)"
        case _:
            raise TypeError(f"no words for {bound}")


def _paragraphs(kind: type) -> list[str]:
    return (inspect.getdoc(kind) or "").split("\n\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())
