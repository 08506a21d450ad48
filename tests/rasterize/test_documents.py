"""What a library's error comes to."""

import pytest

from quire.rasterize.documents import failure_of
from quire.rasterize.views import RenderFailure

MUPDF = "code=2: {} failed"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError(MUPDF.format("malloc (800 bytes)")), "render_memory"),
        (RuntimeError(MUPDF.format("calloc (1 x 24 bytes)")), "render_memory"),
        (RuntimeError(MUPDF.format("realloc (800 bytes)")), "render_memory"),
        (MemoryError(), "render_memory"),
        (OSError(12, "Cannot allocate memory"), "render_memory"),
        (RuntimeError("malloc(): corrupted top size"), "render_error"),  # a damaged heap
        (RuntimeError("syntax error"), "render_error"),
        (RenderFailure("page_missing", "page 2 of 1"), "page_missing"),
    ],
)
def test_an_error_for_want_of_memory_is_told_from_others(error: Exception, kind: str) -> None:
    assert failure_of(error)[0] == kind
