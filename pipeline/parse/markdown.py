"""Plain Markdown → blocks without boxes, cut at blank lines and around headings, tables, code and formulas.

Also takes off what chat models put around their answer: their thoughts, a code fence, olmOCR's front matter. One
pass over the lines; nothing is looked for twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from quire.records import Block

_SPECIAL_TOKEN = re.compile(r"<[|｜][^<>|｜]{1,40}[|｜]>")

# The keys of olmOCR's header, https://github.com/allenai/olmocr (olmocr/prompts/prompts.py).
_HEADER = re.compile(
    r"---\n"
    r"(?:(?:primary_language|is_rotation_valid|rotation_correction|is_table|is_diagram): ?[^\n]{0,40}\n){1,8}"
    r"---(?:\n|$)"
)

# What spans blank lines: how its first line begins, and what ends it.
_SPANS = (("```", "```"), ("<table", "</table>"), ("$$", "$$"), ("\\[", "\\]"))

_KINDS = (
    (re.compile(r"#\s"), "title"),
    (re.compile(r"#{2,6}\s"), "sub_title"),
    (re.compile(r"\||<table\b", re.IGNORECASE), "table"),
    (re.compile(r"([-*•]|\d{1,3}[.)])\s"), "list"),
    (re.compile(r"\$\$|\\\["), "equation"),
    (re.compile(r"!\["), "image"),
    (re.compile(r"```"), "code"),
)


def markdown_blocks(text: str) -> list[Block]:
    """Blocks of plain Markdown, labelled by how they begin."""
    return [Block(_kind(piece), piece) for piece in _pieces(_bare(without_special_tokens(text)))]


def without_special_tokens(text: str) -> str:
    """Text without <|…|>, which are marks of the model and not of the page."""
    return _SPECIAL_TOKEN.sub("", text)


def below_front_matter(text: str) -> str:
    """What follows a header with olmOCR's keys; all of the text where there is none."""
    text = text.lstrip()
    header = _HEADER.match(text)
    return text[header.end() :] if header else text


def _bare(text: str) -> str:
    """The answer without the thoughts before it and the fence around it."""
    text = text.strip()
    if text.startswith("<think>") and "</think>" in text:
        text = text.partition("</think>")[2].strip()
    text = text.removeprefix("<answer>").removesuffix("</answer>").strip()
    first, _, rest = text.partition("\n")
    if first.strip() in ("```markdown", "```md") and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return text


def _pieces(text: str) -> Iterator[str]:
    """The text's parts, none empty. A span that nothing ends is cut like any other text."""
    lines = text.split("\n")
    last = _last_lines(lines)
    piece: list[str] = []
    end, depth = "", 0  # of the span that the line is in
    for index, line in enumerate(lines):
        begins = "" if end else _span_end(line, index, last)
        if begins or (not end and _is_heading(line)):
            yield from _joined(piece)
            piece, end = [], begins
        piece.append(line)
        if end:
            depth += _depth(line, end, is_first=bool(begins))
        if depth <= 0 if end else not line.strip() or _is_heading(line):
            yield from _joined(piece)
            piece, end, depth = [], "", 0
    yield from _joined(piece)


def _last_lines(lines: list[str]) -> dict[str, int]:
    """For each mark that ends a span, the last line that has it; -1 where none has it."""
    last = {end: -1 for _, end in _SPANS}
    for index, line in enumerate(lines):
        line = line.lower()
        last.update({end: index for end in last if end in line})
    return last


def _joined(lines: list[str]) -> Iterator[str]:
    if piece := "\n".join(lines).strip("\n").rstrip():
        yield piece


def _span_end(line: str, index: int, last: dict[str, int]) -> str:
    """What ends the span that begins on this line; empty if none begins, or nothing ends it."""
    line = line.lstrip().lower()
    for begin, end in _SPANS:
        if line.startswith(begin) and (last[end] > index or end in line[len(begin) :]):
            return end
    return ""


def _depth(line: str, end: str, *, is_first: bool) -> int:
    """How much a line changes the depth of spans. Only tables nest; in other spans the first line goes in and the next
    mark comes out again."""
    if end == "</table>":
        line = line.lower()
        return line.count("<table") - line.count("</table>")
    marks = line.count(end)
    if not is_first:
        return -1 if marks else 0
    is_whole = marks > (1 if end in ("```", "$$") else 0)
    return 0 if is_whole else 1


def _is_heading(line: str) -> bool:
    return line.startswith("#") and _kind(line) in ("title", "sub_title")


def _kind(piece: str) -> str:
    return next((label for pattern, label in _KINDS if pattern.match(piece.lstrip())), "text")
