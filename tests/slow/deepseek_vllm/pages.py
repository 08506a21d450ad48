"""Pages to show to the model: the benchmarks' own."""

from quire.jobs.bench.drawn_pages import A4, SLIDE, page_image

__all__ = ["A4", "SLIDE", "page_image"]
