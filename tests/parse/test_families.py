"""Completions as each family of models writes them, well-formed, malformed and hostile."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.config.profiles import Parser
from quire.parse import LABELS, parse, to_markdown
from quire.records import Block, Recognition

PARSERS: tuple[Parser, ...] = get_args(Parser)
SIZE_PX = (1000, 2000)


def blocks(text: str, parser: Parser = "markdown") -> list[tuple[str, str]]:
    return [(b.label, b.text) for b in parse(Recognition(text), parser, SIZE_PX)]


def test_the_form_of_unlimited_ocr() -> None:
    text = "<|det|>title [100, 50, 900, 120]<|/det|># Über 漢字\n<|det|>text [0, 0, 999, 999]<|/det|>Zwei [[1]] Spalten"
    title, body = parse(Recognition(text), "grounding")
    assert (title.label, title.text, body.text) == ("title", "# Über 漢字", "Zwei [[1]] Spalten")
    assert title.box == pytest.approx((100 / 999, 50 / 999, 900 / 999, 120 / 999))
    assert body.box == (0, 0, 1, 1)


@pytest.mark.parametrize(
    "tag",
    [
        "<|det|>[[1, 2, 3, 4]]<|/det|>",
        "<|det|>text [1, 2, 3]<|/det|>",
        "<|det|>text [1, 2, 3, 4]",
        "<|det|>a [b]<|/det|>",
    ],
)
def test_a_malformed_tag_of_that_form_is_text(tag: str) -> None:
    (block,) = parse(Recognition(tag + "hello"), "grounding")
    assert block.box is None and "hello" in block.text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("☑ Yes ☐ No", "text"),
        ("☒ Yes\n□ No", "text"),
        ("- [x] Yes\n- [ ] No", "list"),
        ("[X] Yes [ ] No", "text"),
        (r"\( \boxtimes \) Yes \( \square \) No", "text"),
        ("<table><tr><td>☑</td><td>☐</td></tr></table>", "table"),
        ('<table><tr><td><input type="checkbox" checked></td></tr></table>', "table"),
    ],
)
def test_boxes_are_kept_as_the_model_wrote_them(text: str, label: str) -> None:
    assert blocks(text) == [(label, text)]
    assert blocks(f"<|ref|>{label}<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>\n{text}", "grounding") == [(label, text)]
    assert to_markdown(parse(Recognition(text), "markdown", SIZE_PX)) == text


def test_grounded_tables_keep_their_html_and_nested_brackets() -> None:
    table = "<table><tr><td>[[1, 2, 3, 4]]</td><td>a\n\nb</td></tr></table>"
    text = f"<|ref|>table<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>\n{table}\n<|det|>text [1,2,3,4]<|/det|>\nx"
    assert blocks(text, "grounding") == [("table", table), ("text", "x")]


def test_markdown_is_cut_around_what_stands_alone() -> None:
    text = (
        "# Head\nfirst line\nsecond line\n## Sub\n<table>\n<tr><td>a\n\n<table><tr></tr>\n</table></td></tr>\n"
        "</table>\nafter\n\n```python\nx = 1\n\n# no heading\n```\n\n$$\na\n\nb\n$$\ntail\n\n"
        "![chart](page_1_2_3_4.png)\n\n\\[ y \\]"
    )
    assert [label for label, _ in blocks(text)] == [
        *("title", "text", "sub_title", "table", "text", "code", "equation", "text", "image", "equation"),
    ]
    assert blocks(text)[5][1] == "```python\nx = 1\n\n# no heading\n```"
    assert "```\n```" not in to_markdown(parse(Recognition(text), "markdown"))


@pytest.mark.parametrize("opening", ["```", "<table>", "$$", "\\["])
def test_a_span_that_nothing_ends_is_cut_at_blank_lines(opening: str) -> None:
    assert [text for _, text in blocks(f"{opening}\na\n\nb\n\n# c")] == [f"{opening}\na", "b", "# c"]


@pytest.mark.parametrize(
    "wrapped",
    [
        "<think>A page, <b>well</b>.</think>\n# A\n\nb",
        "```markdown\n# A\n\nb\n```",
        "<think></think><answer># A\n\nb</answer>",
        "<|begin_of_box|># A\n\nb<|end_of_box|>",
    ],
)
def test_what_chat_models_put_around_an_answer_comes_off(wrapped: str) -> None:
    assert blocks(wrapped) == [("title", "# A"), ("text", "b")]


HEADER = (
    "---\nprimary_language: en\nis_rotation_valid: True\nrotation_correction: 0\n"
    "is_table: False\nis_diagram: False\n---\n"
)


def test_olmocrs_header_comes_off() -> None:
    assert blocks(HEADER + "# A\n\n---\n\nb", "front_matter") == [("title", "# A"), ("text", "---"), ("text", "b")]
    assert blocks(HEADER, "front_matter") == blocks(HEADER.rstrip(), "front_matter") == []


@pytest.mark.parametrize(
    "text", ["---\nkey: value\n---\nb", "---\nprimary_language: en\nb", "--- primary_language: en ---"]
)
def test_what_is_no_header_of_olmocr_stays(text: str) -> None:
    assert "\n".join(piece for _, piece in blocks(text, "front_matter")) == text


LAYOUT = [
    {"bbox": [100, 200, 900, 300], "category": "Title", "text": "# Über „Quire“"},
    {"bbox": [100, 400, 900, 1000], "category": "Picture"},
    {"bbox": [100, 1000, 900, 1100], "category": "Formula", "text": "E = mc^2"},
    {"bbox": [100, 1100, 900, 1200], "category": "Table", "text": "<table><tr><td>[1]</td></tr></table>"},
    {"bbox": [2000, -5, 0, 99999], "category": "Page-footer", "text": "3"},
    {"bbox": [0, 0, 1, 1], "category": "List-item", "text": "- x"},
]


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", " {}<|endofassistant|>"])
def test_the_layout_list_of_dots_ocr(form: str) -> None:
    parsed = parse(Recognition(form.replace("{}", json.dumps(LAYOUT))), "layout_json", SIZE_PX)
    assert [b.label for b in parsed] == ["title", "image", "equation", "table", "footer", "list"]
    assert parsed[0].box == (0.1, 0.1, 0.9, 0.15)
    assert parsed[2].text == "$$\nE = mc^2\n$$"
    assert parsed[4].box == (0.0, 0.0, 1.0, 1.0)
    assert to_markdown(parsed, keep_headers_and_footers=False).startswith("# Über „Quire“\n\n$$")
    assert all(b.box is None for b in parse(Recognition(json.dumps(LAYOUT)), "layout_json"))


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox": [1, 2, 3, 4]}',
        '[{"bbox": [1, 2, 3], "category": "Text", "text": "x"}]',
        '[{"bbox": [1, 2, 3, "4"], "category": "Text", "text": "x"}]',
        '[{"bbox": [1, 2, 3, NaN], "category": "Text", "text": "x"}]',
        '[{"bbox": [1, 2, 3, 4], "category": 1, "text": "x"}]',
        '[{"bbox": [1, 2, 3, 4], "category": "Text", "text": ["x"]}]',
        '[{"bbox": [1, 2, 3, 4], "category": "Text", "text": "cut in the mid',
        '[{"bbox": [1, 2, 3, 4], "category": "Text", "text": "x"}] and more',
        f'[{{"bbox": [1, 2, 3, {"9" * 400}], "category": "Text", "text": "x"}}]',
        "[__import__('os').system('id')]",
        "[[[1, 2, 3, 4]]]",
        "[null]",
        "7",
    ],
)
def test_what_is_no_layout_list_is_text(text: str) -> None:
    parsed = parse(Recognition(text), "layout_json", SIZE_PX)
    assert parsed == (Block("text", text),)


HOSTILE = [
    "[" * 1_000_000,
    '{"a":' * 200_000,
    "<|ref|>" * 140_000,
    "<|det|>text [" * 80_000,
    "<|ref|>text<|/ref|><|det|>[" + "[1, 2, 3, 4]    " * 62_000,
    "<|ref|>text<|/ref|><|det|>[[1" + " " * 1_000_000,
    ("<|ref|>text<|/ref|><|det|>[" + "[1,2,3,4] " * 63) * 1500,
    "<table>\n" * 30_000,
    "```\n" * 50_000,
    "$$\n\n" * 50_000,
    "\\[\n" * 60_000 + "\\]",
    "\n \n" * 60_000 + "x",
    "---\n" + "is_table: \n" * 20_000,
    "<think>" * 140_000,
    "# " * 500_000,
    "İ<TABLE>\n" * 25_000 + "</table>",
    "<|" * 500_000,
    "\ud800\x00" * 60_000,
]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.timeout(60)  # one that is not linear would take hours
def test_hostile_texts_are_read_in_one_go(text: str, parser: Parser) -> None:
    parsed = parse(Recognition(text), parser, SIZE_PX)
    to_markdown(parsed).encode()
    assert {b.label for b in parsed} <= LABELS


_MARKS = st.sampled_from(
    [
        *("<|ref|>text<|/ref|>", "<|det|>[[1, 2, 3, 4]]<|/det|>", "<|det|>title [1,2,3,4]<|/det|>", "ß漢", "a b"),
        *("<table>", "</table>", "```", "$$", "\\[", "\\]", "\n", "\n\n", "# ", "| a |", "---\n"),
        *("[", "]", "{", "}", '"bbox":'),
    ]
)


@given(st.lists(_MARKS, max_size=40), st.sampled_from(PARSERS))
def test_no_words_are_lost_or_invented(marks: list[str], parser: Parser) -> None:
    text = "".join(marks)
    parsed = parse(Recognition(text), parser, SIZE_PX)
    assert {b.label for b in parsed} <= LABELS
    assert sum(b.text.count("ß漢") for b in parsed) == text.count("ß漢")
    assert all(0 <= side <= 1 for b in parsed if b.box for side in b.box)
