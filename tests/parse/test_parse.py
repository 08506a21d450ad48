"""Completions of every shape, hostile ones included, become blocks and Markdown; loops are told from rows of dots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.parse import LABELS, clean, judge, parse, repeated_tail, to_markdown
from quire.records import Block, Recognition

GROUNDED = (
    "<|ref|>title<|/ref|><|det|>[[100, 50, 900, 120]]<|/det|>\n# On Paper\n\n"
    "<|ref|>text<|/ref|><|det|>[[100, 150, 480, 900], [520, 150, 900, 400]]<|/det|>\nTwo columns of text.\n"
    "<|ref|>table_caption<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>\nTable 1 <|end▁of▁sentence|>"
)


def test_grounded_blocks_have_labels_text_and_boxes() -> None:
    title, text, caption = parse(Recognition(GROUNDED), "grounding")
    assert (title.label, title.text) == ("title", "# On Paper")
    assert title.box == pytest.approx((100 / 999, 50 / 999, 900 / 999, 120 / 999))
    assert text.box == pytest.approx((100 / 999, 150 / 999, 900 / 999, 900 / 999)), "the union of both boxes"
    assert (caption.label, caption.text, caption.box) == ("caption", "Table 1", (0.0, 0.0, 1.0, 1.0))
    assert to_markdown([title, text, caption]) == "# On Paper\n\nTwo columns of text.\n\nTable 1"


@pytest.mark.parametrize(
    "hostile",
    [
        "<|ref|>text<|/ref|><|det|>[[__import__('os').system('id'), 1, 2, 3]]<|/det|>hello",
        "<|ref|>text<|/ref|><|det|>[[1, 2, 3]]<|/det|>hello",
        "<|ref|>text<|/ref|><|det|>[[1, 2, 3, 4]hello",
        "<|ref|>text<|/ref|>hello",
        "<|ref|>a<|ref|>b<|/ref|><|det|>[[[1, 2, 3, 4]]]<|/det|>hello",
        "<|det|>[[1, 2, 3, 4]]<|/det|>hello",
    ],
)
def test_a_malformed_tag_is_text(hostile: str) -> None:
    blocks = parse(Recognition(hostile), "grounding")
    assert all(block.box is None for block in blocks)
    assert "hello" in to_markdown(blocks)


def test_spaces_between_boxes_do_not_take_for_ever() -> None:
    text = "<|ref|>text<|/ref|><|det|>[" + "[1, 2, 3, 4]    " * 60 + "x"
    assert [block.box for block in parse(Recognition(text), "grounding")] == [None]


def test_boxes_beyond_the_page_and_backwards_are_put_right() -> None:
    (block,) = parse(Recognition("<|ref|>odd label<|/ref|><|det|>[[900, 9999, 100, 0]]<|/det|>x"), "grounding")
    assert block.label == "text", "an unknown label"
    assert block.box == pytest.approx((100 / 999, 0.0, 900 / 999, 1.0))


def test_plain_markdown_is_cut_at_blank_lines() -> None:
    text = "# One\n\npara\nof two lines\n\n- a\n- b\n\n| a |\n|---|\n\n## Two\n\n1. x\n\n$$y$$\n\n<table></table>"
    labels = [block.label for block in parse(Recognition(text), "grounding")]
    assert labels == ["title", "text", "list", "table", "sub_title", "list", "equation", "table"]
    assert to_markdown(parse(Recognition(text), "grounding")) == text


def test_an_engines_own_blocks_win() -> None:
    blocks = (Block("title", "A"), Block("header", "running head"), Block("text", "B\x00C"), Block("weird", "D"))
    parsed = parse(Recognition("raw", blocks=blocks), "grounding")
    assert [b.label for b in parsed] == ["title", "header", "text", "text"]
    assert to_markdown(parsed) == "# A\n\nrunning head\n\nBC\n\nD"
    assert to_markdown(parsed, keep_headers_and_footers=False) == "# A\n\nBC\n\nD"


@given(st.text(alphabet=st.characters(codec=None), max_size=300))
def test_whatever_the_text_parsing_gives_utf8_and_known_labels(text: str) -> None:
    blocks = parse(Recognition(text), "grounding")
    to_markdown(blocks).encode()
    assert {block.label for block in blocks} <= LABELS
    assert "\x00" not in clean(text)


DOTS = "Contents\n" + "Introduction " + "." * 60 + " 3\n" + "Methods " + "." * 64 + " 9\n"


@pytest.mark.parametrize(
    ("text", "finish_reason", "verdict"),
    [
        ("A short and honest page.", "stop", "ok"),
        ("", "stop", "ok"),
        ("Cut in the mid", "length", "truncated"),
        ("Start. " + "again and " * 200, "length", "loop"),
        ("Start. " + "again and " * 1000, "stop", "loop"),
        ("x" * 5000, "stop", "loop"),
        ("Start. " + "again and " * 5000, "stop", "loop"),
        ("".join(f"line {n} of many\n" for n in range(2000)) + "again and " * 1000, "stop", "ok"),
        ("Start. " + "".join(f"word{n} " for n in range(54)) * 60, "stop", "loop"),
        (DOTS * 3, "stop", "ok"),
        ("prose " * 3 + "| | | |\n" * 30, "stop", "ok"),
        ("whatever", "loop", "loop"),
    ],
)
def test_the_verdict(text: str, finish_reason: str, verdict: str) -> None:
    assert judge(Recognition(text, finish_reason)) == verdict  # type: ignore[arg-type]


def test_an_ocr_engine_cannot_loop() -> None:
    assert judge(Recognition("no " * 3000, blocks=())) == "ok"


@given(st.text(alphabet="abc ", min_size=1, max_size=50), st.integers(min_value=1, max_value=60))
def test_a_repeated_unit_is_found_exactly_when_it_is_long_enough(unit: str, times: int) -> None:
    text = "The page begins like this: 0123456789 " + (unit + "|") * times
    found = repeated_tail(text)
    repeated = (len(unit) + 1) * times
    if times >= 8 and repeated >= 300:
        assert found >= repeated * 0.9
    if times == 1 and len(text) < 240:
        assert found == 0
