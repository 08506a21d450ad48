"""What becomes of a page that one or two renderers tried to draw: pure functions over their tries (`Go`).

A renderer leaves out what it cannot draw, mostly without an error. So a renderer that draws nothing, or next to nothing
where there should be something, or reports damage, is not believed alone: the other one is asked. Where they do not
agree, the page is read with a mark, or fails. A page is blank only if there is no doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quire.records import Failure, Mark, PageFacts, PageImage, RasterizedPage

_NOT_ANOTHER_RENDERERS_BUSINESS = ("too_many_pixels",)
_MUCH_COVER = 0.5  # of the page by pictures: where next to nothing is drawn, one of them may be what is missing
_HARDLY_ANY_INK = 0.003  # a stamp and a page number
_CLEARLY_MORE = 2.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """A page as one renderer drew it; `damage` says what it left out, "" mostly."""

    renderer: str
    image: PageImage
    facts: PageFacts
    ink_map: bytes = b""
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Undrawn:
    """Why one renderer could not draw a page."""

    renderer: str
    kind: str
    message: str

    @property
    def words(self) -> str:
        return f"{self.renderer}: {self.kind}: {self.message}"


Go = Drawn | Undrawn


def wants_another(go: Go) -> bool:
    """Whether the other renderer is to be asked, too. Images have one, which decodes all of it or fails."""
    if isinstance(go, Undrawn):
        return go.kind not in _NOT_ANOTHER_RENDERERS_BUSINESS
    is_empty = not go.facts.has_ink and go.renderer != "pillow"
    return bool(go.damage or is_empty or _what_is_missing(go))


def settle(page_index: int, goes: Sequence[Go], seconds: float) -> tuple[RasterizedPage, PageImage | None]:
    """The page, from the first renderer's try and perhaps the other's, and its image unless it failed."""
    drawn = [go for go in goes if isinstance(go, Drawn)]
    damage = "; ".join(f"{go.renderer}: {go.damage}" for go in drawn if go.damage)
    if with_ink := [go for go in drawn if go.facts.has_ink]:
        return _page(page_index, _best(with_ink), Mark("damaged", damage) if damage else None, seconds)
    first = goes[0]
    if damage or isinstance(first, Undrawn):
        return _failed(page_index, goes, seconds), None
    missing = _what_is_missing(first)
    failed = [go for go in goes[1:] if isinstance(go, Undrawn)]
    is_unsure = bool(failed or (missing and len(goes) == 1))
    return _page(
        page_index, first, Mark("unsure", _lone_words(first, missing, failed)) if is_unsure else None, seconds
    )


def _what_is_missing(go: Drawn) -> str:
    """What the page should show, by its own account, and does not. A repair may have lost both."""
    facts = go.facts
    if go.renderer == "pillow":
        return ""
    if facts.num_chars > 0 and not facts.has_ink:
        return f"its {facts.num_chars} characters"
    if facts.image_cover > _MUCH_COVER and facts.ink_share < _HARDLY_ANY_INK:
        return f"the pictures on {facts.image_cover:.0%} of it"
    return ""


def _best(goes: Sequence[Drawn]) -> Drawn:
    """The first, unless it is damaged and the other is not, or the other shows clearly more."""
    candidates = [go for go in goes if not go.damage] or goes
    best, *others = candidates
    for other in others:
        if other.facts.ink_share > _CLEARLY_MORE * best.facts.ink_share:
            best = other
    return best


def _lone_words(first: Drawn, missing: str, failed: Sequence[Undrawn]) -> str:
    why = "; ".join(go.words for go in failed) or "there is no second renderer"
    drawn = f"nothing of {missing}" if missing else "nothing"
    return f"{first.renderer} draws {drawn}, and nobody agrees: {why}"


def _page(page_index: int, go: Drawn, mark: Mark | None, seconds: float) -> tuple[RasterizedPage, PageImage]:
    marks = (mark,) if mark else ()
    info = go.image.info
    page = RasterizedPage(page_index, go.renderer, seconds, go.facts, info, marks=marks, ink_map=go.ink_map)
    return page, go.image


def _failed(page_index: int, goes: Sequence[Go], seconds: float) -> RasterizedPage:
    first, *others = goes
    kind = first.kind if isinstance(first, Undrawn) else "render_error"
    words = first.message if isinstance(first, Undrawn) else _nothing_drawn(first)
    message = "; ".join([f"{first.renderer}: {words}", *(_words(other) for other in others)])
    failure = Failure("rasterize", kind, message)
    return RasterizedPage(page_index, first.renderer, seconds, failure=failure)


def _words(go: Go) -> str:
    return go.words if isinstance(go, Undrawn) else f"{go.renderer}: {_nothing_drawn(go)}"


def _nothing_drawn(go: Drawn) -> str:
    return f"nothing was drawn: {go.damage or 'no ink'}"
