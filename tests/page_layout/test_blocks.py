"""Layout rules on synthetic pages: lines of a given pitch, no pixels. Every page is tried at three resolutions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.page_layout.blocks import arrange
from quire.page_layout.gutters import GappedBox, cut_at_gutters
from quire.page_layout.lines import Line, group_rows
from quire.page_layout.paragraphs import join_text
from quire.page_layout.reading_order import read_in_order
from quire.page_layout.ruled_tables import write_table

SCALES = pytest.mark.parametrize("scale", [1.0, 1.4, 3.0])
HEIGHT = 20.0
LETTER = 9.0


def line(text: str, x: float, y: float, height: float = HEIGHT, width: float | None = None) -> Line:
    return Line(text, x, y, x + (width if width is not None else LETTER * len(text) * height / HEIGHT), y + height)


def column(name: str, x: float, y: float, num_lines: int, width: float = 400, pitch: float = 26) -> list[Line]:
    """Running text; its words name the column and the line."""
    return [filled(f"{name}{number} ", x, y + number * pitch, width) for number in range(num_lines)]


def filled(start: str, x: float, y: float, width: float) -> Line:
    """A line of text that is as wide as asked, with letters of the usual width."""
    text = (start + "runs on and on, " * 20)[: int(width / LETTER) - 1] + ","
    return line(text, x, y, width=width)


def scaled(lines: list[Line], scale: float) -> list[Line]:
    return [
        Line(item.text, item.x0 * scale, item.y0 * scale, item.x1 * scale, item.y1 * scale, item.score,
             item.has_bullet, item.is_vertical)
        for item in lines
    ]  # fmt: skip


def first_words(lines: list[Line], page_height: float) -> list[str]:
    return [item.text.split()[0] for piece in arrange(lines, page_height) for item in piece.lines]


@SCALES
@pytest.mark.parametrize("num_columns", [2, 3])
@pytest.mark.parametrize("shift", [0, 11])
def test_columns_are_read_one_after_the_other(scale: float, num_columns: int, shift: float) -> None:
    """Whether or not their baselines agree."""
    names = "abc"[:num_columns]
    width = 1000 / num_columns - 30
    columns = [
        column(name, 100 + i * 1000 / num_columns, 300 + i * shift, 30, width) for i, name in enumerate(names)
    ]
    mixed = sorted((item for lines in columns for item in lines), key=lambda item: (item.y0, item.x0))
    expected = [f"{name}{number}" for name in names for number in range(30)]
    assert first_words(scaled(mixed, scale), 1650 * scale) == expected


@SCALES
def test_a_spanning_heading_divides_columns(scale: float) -> None:
    lines = [
        *column("a", 100, 300, 8),
        *column("b", 540, 300, 8),
        line("A heading that spans both of the columns and stands between them", 200, 550, width=600),
        *column("c", 100, 620, 8),
        *column("d", 540, 620, 8),
    ]
    words = [word[0] for word in first_words(scaled(lines, scale), 1650 * scale)]
    assert "".join(words) == "a" * 8 + "b" * 8 + "A" + "c" * 8 + "d" * 8


@SCALES
def test_title_headings_header_and_footer(scale: float) -> None:
    lines = [
        line("Journal of Tides 12", 100, 60),
        line("On the Height of Waves", 100, 200, height=44),
        *column("a", 100, 300, 6, width=900),
        line("2. Methods of measuring", 100, 490, height=28),
        *column("B", 100, 540, 6, width=900),
        line("17", 540, 1580),
    ]
    pieces = arrange(scaled(lines, scale), 1650 * scale)
    assert [piece.label for piece in pieces] == ["header", "title", "text", "sub_title", "text", "footer"]


@SCALES
def test_a_grid_is_a_table_and_text_around_it_is_not(scale: float) -> None:
    rows = [
        ("Name", "Count", "Price"),
        ("Rope|cord", "12", "3.50"),
        ("Anchor", "", "120.00"),
        ("Lamp", "7", "18"),
    ]
    cells = [
        line(cell, 100 + 300 * x, 500 + 40 * y) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell
    ]
    lines = [*column("a", 100, 300, 6, width=900), *cells, *column("b", 100, 720, 6, width=900)]
    pieces = arrange(scaled(lines, scale), 1650 * scale)
    assert [piece.label for piece in pieces] == ["text", "table", "text"]
    assert pieces[1].text.splitlines() == [
        "| Name | Count | Price |",
        "| --- | --- | --- |",
        "| Rope\\|cord | 12 | 3.50 |",
        "| Anchor |  | 120.00 |",
        "| Lamp | 7 | 18 |",
    ]


def test_a_wide_header_cell_does_not_join_columns() -> None:
    rows = [[line("A header over both of them", 100, 100, width=360), line("Sum", 700, 100)]]
    rows += [[line("x" * 8, 100, y), line("yyy", 400, y), line("12", 700, y)] for y in range(140, 500, 40)]
    regions = read_in_order([item for row in rows for item in row], HEIGHT)
    assert [len(region.columns) for region in regions] == [3]
    assert write_table(regions[0].rows, regions[0].columns).splitlines()[2] == "| xxxxxxxx | yyy | 12 |"


@SCALES
@pytest.mark.parametrize("gap", [0.25, 0.35, 0.45])
@pytest.mark.parametrize("num_rows", [3, 9])
def test_prose_whose_spaces_lie_under_one_another_is_no_table(scale: float, gap: float, num_rows: int) -> None:
    """A detector, or the cutting of boxes, leaves a space of `gap` line heights open in every line."""
    halves = [
        [line("the mooring of", 100, 500 + 36 * y), line("a coaster", 226 + gap * HEIGHT, 500 + 36 * y)]
        for y in range(num_rows)
    ]
    pieces = arrange(scaled([half for row in halves for half in row], scale), 1650 * scale)
    assert [(piece.label, piece.text) for piece in pieces] == [
        ("text", " ".join(["the mooring of a coaster"] * num_rows))
    ]


@SCALES
@pytest.mark.parametrize("gap", [0.25, 0.4, 0.6])
def test_a_narrow_gutter_divides_the_columns_of_a_table_with_wider_ones(scale: float, gap: float) -> None:
    right = 100 + 6 * LETTER + gap * HEIGHT
    cells = [
        item
        for y in range(500, 700, 40)
        for item in (line("Anchor", 100, y), line("12", right, y), line("3.50", 400, y))
    ]
    [piece] = arrange(scaled(cells, scale), 1650 * scale)
    assert piece.text.splitlines() == [
        "| Anchor | 12 | 3.50 |",
        "| --- | --- | --- |",
        *["| Anchor | 12 | 3.50 |"] * 4,
    ]


@SCALES
def test_a_gutter_that_a_heading_makes_narrow_is_one(scale: float) -> None:
    """Between most of its rows it is wider than a word space."""
    heading = [line("Item no.", 100, 500), line("What was asked of them", 105 + 8 * LETTER, 500)]
    rows = [
        [line(str(y), 100, 500 + 40 * y), line("was it easy?", 105 + 8 * LETTER, 500 + 40 * y)]
        for y in range(1, 7)
    ]
    [piece] = arrange(scaled([item for row in [heading, *rows] for item in row], scale), 1650 * scale)
    assert piece.text.splitlines()[:3] == [
        "| Item no. | What was asked of them |",
        "| --- | --- |",
        "| 1 | was it easy? |",
    ]


@SCALES
def test_items_become_one_list(scale: float) -> None:
    lines = [
        Line("First item of the list", 130, 300, 330, 320, has_bullet=True),
        Line("Second item, which is too long for a single line and", 130, 330, 1000, 350, has_bullet=True),
        line("goes on here", 130, 356),
        Line("Third item", 130, 386, 230, 406, has_bullet=True),
        *column("a", 100, 460, 5, width=900),
    ]
    pieces = arrange(scaled(lines, scale), 1650 * scale)
    assert [piece.label for piece in pieces] == ["list", "text"]
    assert pieces[0].text.splitlines() == [
        "- First item of the list",
        "- Second item, which is too long for a single line and goes on here",
        "- Third item",
    ]


@SCALES
def test_bullets_that_were_cut_off_stand_before_their_items(scale: float) -> None:
    """They are no column, though nothing but items is beside them."""
    names = ("First", "Next", "Last")
    items = [column(f"{name} ", 130, 300 + 90 * number, 3, 870) for number, name in enumerate(names)]
    marks = [line("•", 112, item[0].y0, width=9) for item in items]
    stray = line("•", 100, 700, width=9)
    pieces = arrange(scaled([*marks, *(row for item in items for row in item), stray], scale), 1650 * scale)
    assert [piece.label for piece in pieces] == ["list", "text"]
    assert [item.split()[:2] for item in pieces[0].text.splitlines()] == [["-", name] for name in names]
    assert pieces[1].text == "•"


@SCALES
def test_paragraphs_start_at_indents_and_after_short_lines(scale: float) -> None:
    lines = [
        filled("One begins and ", 100, 300, 900),
        line("then it ends.", 100, 326),
        filled("Two follows without any sign but ", 100, 352, 900),
        filled("fills its lines as well ", 100, 378, 900),
        filled("Three is indented at its start and ", 140, 404, 860),
        filled("goes on at the margin ", 100, 430, 880),
    ]
    texts = [piece.text for piece in arrange(scaled(lines, scale), 1650 * scale)]
    assert [text.split()[0] for text in texts] == ["One", "Two", "Three"]


def test_margin_stamps_come_last() -> None:
    stamp = Line("arXiv:1234.5678", 20, 400, 45, 900, is_vertical=True)
    stray = Line("cs", 22, 350, 44, 370)
    pieces = arrange([stamp, stray, *column("a", 100, 300, 20, width=900)], 1650)
    assert [piece.text.split()[0] for piece in pieces] == ["a0", "arXiv:1234.5678", "cs"]


def test_vertical_writing_is_read_from_the_right() -> None:
    lines = [
        Line(text, x, 100, x + 30, 900, is_vertical=True) for x, text in ((100, "三"), (200, "二"), (300, "一"))
    ]
    assert [piece.text for piece in arrange(lines, 1650)] == ["一\n二\n三"]


def test_no_lines_no_blocks() -> None:
    assert arrange([], 1650) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("the recog-", "niser", "the recogniser"),
        ("pages 10-", "20", "pages 10- 20"),
        ("Trace-", "Monkey", "Trace- Monkey"),
        ("one", "two", "one two"),
        ("你好", "世界", "你好世界"),
        ("你好", "world", "你好 world"),
    ],
)
def test_joining_lines(first: str, second: str, expected: str) -> None:
    assert join_text(first, second) == expected


def test_a_box_across_a_gutter_is_cut_where_its_neighbours_leave_it_free() -> None:
    joined = [GappedBox((100, 26 * y, 900, 26 * y + 20), ((480, 505),)) for y in range(6)]
    assert [len(parts) for parts in cut_at_gutters(joined, 20)] == [2] * 6


def test_a_wide_word_space_is_no_gutter() -> None:
    boxes = [GappedBox((100, 26 * y, 900, 26 * y + 20)) for y in range(6)]
    boxes[3] = GappedBox(boxes[3].box, ((480, 505),))
    assert [len(parts) for parts in cut_at_gutters(boxes, 20)] == [1] * 6


def test_a_very_wide_gap_and_a_ruling_are_cut_alone() -> None:
    wide = GappedBox((0, 0, 900, 20), ((300, 380),))
    ruled = GappedBox((0, 100, 900, 120), ((300, 308),), rulings=((300, 308),))
    assert [len(parts) for parts in cut_at_gutters([wide, ruled], 20)] == [2, 2]


@given(
    st.lists(st.floats(2, 12), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(2, 120), min_size=6, max_size=6), min_size=3, max_size=8),
)
def test_every_table_has_at_least_two_columns(gaps: list[float], rows: list[list[int]]) -> None:
    """Rows whose cells start where the widest cell above or below allows it, after a gap of that many pixels."""
    starts = [100.0]
    for index, gap in enumerate(gaps):
        starts.append(starts[-1] + max(row[index] for row in rows) + gap)
    lines = [
        line("ab", start, 300 + 36 * y, width=row[index])
        for y, row in enumerate(rows)
        for index, start in enumerate(starts)
    ]
    tables = [piece.text for piece in arrange(lines, 1650) if piece.label == "table"]
    assert all(table.splitlines()[1].count("---") > 1 for table in tables)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1200), st.integers(0, 1600), st.integers(1, 600), st.integers(1, 60), st.booleans()
        ),
        max_size=40,
    )
)
def test_every_line_is_in_exactly_one_block(boxes: list[tuple[int, int, int, int, bool]]) -> None:
    lines = [
        Line(f"w{i} x", x, y, x + width, y + height, is_vertical=is_vertical)
        for i, (x, y, width, height, is_vertical) in enumerate(boxes)
    ]
    arranged = [item.text for piece in arrange(lines, 1650) for item in piece.lines]
    assert sorted(arranged) == sorted(item.text for item in lines)


def test_rows_are_read_across() -> None:
    rows = group_rows([line("b", 300, 101), line("a", 100, 100), line("c", 100, 140)])
    assert [[item.text for item in row] for row in rows] == [["a", "b"], ["c"]]
