"""The sandbox under documents that hang, crash, explode or lie. Every page ends in exactly one result."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from quire.config.sections import RenderSettings
from quire.errors import ConfigError, MissingDependency, QuireError
from quire.rasterize.sandbox import Sandbox
from tests import documents
from tests.rasterize.faults import write_faults
from tests.rasterize.rasterizing import failure_kind, image_of, render, render_one, source_of
from tests.waiting import wait_in_loop

Write = Callable[..., Path]
Make = Callable[..., Sandbox]

THREE_PAGES = documents.pdf(["first", "second", "third"])
PAGE = documents.pdf()


async def test_pages_come_in_the_order_asked(sandbox: Sandbox, write: Write) -> None:
    path = write(documents.pdf([f"page {index} " * (index + 1) for index in range(5)]))
    pages = await render(sandbox, path, (3, 0, 3, 4), "gundam")
    assert [page.page_index for page in pages] == [3, 0, 3, 4]
    assert image_of(pages[0]).sha256 == image_of(pages[2]).sha256
    assert len({image_of(page).sha256 for page in pages}) == 3


async def test_what_a_page_image_says_of_itself(sandbox: Sandbox, write: Write) -> None:
    page = await render_one(sandbox, write(PAGE), "gundam")
    image = image_of(page)
    assert (image.doc_id, image.page_index, image.mode) == ("doc-id", 0, "gundam")
    assert (image.tile_cols, image.tile_rows, image.num_image_tokens) == (2, 3, 903)
    assert [view.shape for view in image.views] == [(640, 640, 3)] * 6 + [(1024, 1024, 3)]
    assert (image.width_px, image.height_px) == (724, 1024)
    assert image.dpi == pytest.approx(1024 * 72 / 842)
    assert image.content_box == pytest.approx((150 / 1024, 0, 874 / 1024, 1))
    assert page.image_info is not None
    assert page.image_info.num_bytes == image.num_bytes == 6 * 640 * 640 * 3 + 1024 * 1024 * 3
    assert page.image_info.sha256 == image.sha256
    assert page.facts is not None and page.facts.num_chars == 46
    assert (page.renderer, page.failure) == ("mupdf", None)
    assert page.seconds > 0


async def test_the_hash_is_of_mode_shapes_and_bytes(sandbox: Sandbox, write: Write) -> None:
    image = image_of(await render_one(sandbox, write(PAGE)))
    shapes = tuple(view.shape for view in image.views)
    digest = hashlib.sha256(f"{image.mode}{shapes}".encode())
    for view in image.views:
        digest.update(view.tobytes())
    assert digest.hexdigest() == image.sha256


async def test_pixels_are_copies(sandbox: Sandbox, write: Write) -> None:
    path = write(documents.pdf(["", "words " * 10]))
    first, _ = await render(sandbox, path, (0, 1), "base")
    x = image_of(first).views[0]
    assert (x[:, 200:800] == 255).all(), "the second page has not been written over the first"
    assert x.flags.owndata


async def test_unknown_mode(sandbox: Sandbox, write: Write) -> None:
    with pytest.raises(ConfigError, match="gundam"):
        await render_one(sandbox, write(PAGE), "gundma")


@pytest.mark.parametrize(
    ("renderer", "other", "fault"),
    [
        ("mupdf", "pdfium", "hang"),
        ("mupdf", "pdfium", "segfault"),
        ("mupdf", "pdfium", "nonsense"),
        ("mupdf", "pdfium", "error"),
        ("pdfium", "mupdf", "abort"),
    ],
)
async def test_the_other_renderer_steps_in(
    make_sandbox: Make, write: Write, renderer: str, other: str, fault: str
) -> None:
    path = write(THREE_PAGES)
    write_faults(path, {f"{renderer}:1": fault})
    settings = RenderSettings(renderer=renderer, page_cpu_s=1.0)  # type: ignore[arg-type]
    sandbox = make_sandbox(settings, target="tests.rasterize.faults:FaultyWorker")
    pages = await render(sandbox, path, (0, 1, 2))
    assert [page.renderer for page in pages] == [renderer, other, renderer]
    assert all(page.failure is None for page in pages)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("hang", "render_timeout", "1 s of CPU"),
        ("abort", "render_crash", "SIGABRT"),
        ("error", "render_error", "said no"),
        ("nonsense", "render_crash", "no sense"),
    ],
)
async def test_a_page_that_neither_renderer_survives(
    faulty: Sandbox, write: Write, fault: str, kind: str, words: str
) -> None:
    path = write(THREE_PAGES)
    write_faults(path, {"mupdf:1": fault, "pdfium:1": fault})
    before, page, after = await render(faulty, path, (0, 1, 2))
    assert before.failure is after.failure is None
    assert failure_kind(page) == kind
    assert page.failure is not None
    assert page.failure.message.startswith("mupdf: ") and f"; pdfium: {kind}: " in page.failure.message
    assert words in page.failure.message and str(path) not in page.failure.message
    assert "\n" not in page.failure.message
    assert (page.image, page.facts, page.image_info) == (None, None, None)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("segfault", "render_crash", "SIGSEGV"),
        ("exit", "render_crash", "exit status 3"),
        ("bad_alloc", "render_memory", "bad_alloc"),
        ("out_of_arena", "render_crash", "no sense"),
        ("other_mode", "render_crash", "no sense"),
        ("mode_is_a_list", "render_crash", "no sense"),
        ("no_hash", "render_crash", "no sense"),
        ("many_tokens", "render_crash", "no sense"),
        ("odd_kind", "render_crash", "no sense"),
        ("wide", "render_crash", "no sense"),
    ],
)
async def test_every_way_to_die_and_to_lie(
    faulty: Sandbox, write: Write, fault: str, kind: str, words: str
) -> None:
    """On an image, which has one renderer, so that each way costs one process."""
    path = write(documents.image((40, 60)))
    write_faults(path, {"pillow:0": fault})
    page = await render_one(faulty, path)
    assert failure_kind(page) == kind
    assert page.failure is not None
    assert words in page.failure.message and str(path) not in page.failure.message
    assert "\n" not in page.failure.message
    assert (page.image, page.facts, page.image_info) == (None, None, None)


async def test_the_process_is_blamed_before_the_page(faulty: Sandbox, write: Write) -> None:
    """A page that crashes a process that has done other pages gets a fresh one and the same renderer."""
    path = write(THREE_PAGES)
    write_faults(path, {"mupdf:2": "abort_unless_fresh"})
    pages = await render(faulty, path, (0, 1, 2))
    assert [page.renderer for page in pages] == ["mupdf"] * 3


async def test_a_page_that_falls_asleep_has_hung(make_sandbox: Make, write: Write) -> None:
    sandbox = make_sandbox(target="tests.rasterize.faults:FaultyWorker", stuck_after_s=3.0)
    path = write(documents.image((40, 60)))
    write_faults(path, {"pillow:0": "sleep"})
    page = await render_one(sandbox, path)
    assert failure_kind(page) == "render_timeout"
    assert page.failure is not None and "waits for what never comes" in page.failure.message


async def test_no_page_is_blamed_for_a_process_that_was_stopped(make_sandbox: Make, write: Write) -> None:
    """It is replaced, and the run stops if the next one is stopped too."""
    sandbox = make_sandbox(target="tests.rasterize.faults:FaultyWorker", stuck_after_s=3.0)
    path = write(THREE_PAGES)
    write_faults(path, {"mupdf:1": "stopped_unless_fresh", "mupdf:2": "stopped"})
    pages = await render(sandbox, path, (0, 1))
    assert [(page.renderer, page.failure) for page in pages] == [("mupdf", None)] * 2
    with pytest.raises(QuireError, match="two rendering processes could not work.*it was stopped"):
        await render(sandbox, path, (2,))
    assert (await render(sandbox, path, (0,)))[0].failure is None


async def test_a_fault_does_not_touch_pages_rendered_beside_it(make_sandbox: Make, write: Write) -> None:
    settings = RenderSettings(page_cpu_s=1.0)
    sandbox = make_sandbox(settings, num_workers=2, target="tests.rasterize.faults:FaultyWorker")
    bad, good = write(PAGE, "bad"), write(documents.pdf(["x"] * 8), "good")
    write_faults(bad, {"mupdf:0": "hang", "pdfium:0": "abort"})
    bad_pages, good_pages = await asyncio.gather(render(sandbox, bad), render(sandbox, good, range(8)))
    assert failure_kind(bad_pages[0]) == "render_timeout"
    assert all(page.failure is None for page in good_pages)


async def test_more_calls_than_workers(sandbox: Sandbox, write: Write) -> None:
    paths = [write(documents.pdf([f"document {index}"] * 3), f"d{index}") for index in range(5)]
    results = await asyncio.gather(*(render(sandbox, path, (0, 1, 2)) for path in paths))
    assert [len(pages) for pages in results] == [3] * 5
    assert len({image_of(pages[0]).sha256 for pages in results}) == 5


async def test_results_do_not_depend_on_the_process(make_sandbox: Make, write: Write) -> None:
    path = write(documents.pdf([f"page {index}" for index in range(4)]))
    hashes = []
    for pages_per_process, num_workers in ((1, 1), (500, 2)):
        sandbox = make_sandbox(None, num_workers=num_workers, pages_per_process=pages_per_process)
        hashes.append([image_of(page).sha256 for page in await render(sandbox, path, range(4), "gundam")])
    assert hashes[0] == hashes[1]


async def test_processes_are_replaced_after_so_many_pages(make_sandbox: Make, write: Write) -> None:
    sandbox = make_sandbox(None, pages_per_process=2)
    path, pids = write(THREE_PAGES), []
    for page_index in (0, 1, 2):
        await render(sandbox, path, (page_index,))
        pids.append(sandbox._pool.pids)
    (first,), gone, (second,) = pids
    assert not gone and first != second


async def test_an_abandoned_rendering_frees_its_worker(faulty: Sandbox, write: Write) -> None:
    path, other = write(PAGE, "a"), write(PAGE, "b")
    write_faults(path, {"mupdf:0": "hang"})
    task = asyncio.create_task(render(faulty, path))

    def hangs() -> bool:
        (child,) = faulty._pool._children
        is_at_work = child.pid is not None and child.num_requests > 0
        return is_at_work and sum(psutil.Process(child.pid).cpu_times()[:2]) > 0.1

    await wait_in_loop("the renderer to hang", lambda: hangs() or task.done(), saw=lambda: task)
    assert not task.done(), task
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await render_one(faulty, other)).failure is None


async def test_a_target_that_does_not_start(make_sandbox: Make) -> None:
    sandbox = make_sandbox(None, target="tests.rasterize.faults:Missing")
    with pytest.raises(QuireError, match="does not start"):
        await sandbox.probe(Path(__file__))


async def test_a_machine_without_room_for_a_process_is_not_the_documents_fault(
    make_sandbox: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors, memory or processes: the document must not be recorded as one that cannot be read."""

    def no_room(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    sandbox, path = make_sandbox(None), write(PAGE)
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", no_room)
        with pytest.raises(QuireError, match="the rendering process does not start: .*Too many open files"):
            await sandbox.probe(path)
        with pytest.raises(QuireError, match="Too many open files"):
            await render_one(sandbox, path)
    assert (await render_one(sandbox, path)).failure is None


async def test_a_process_killed_while_it_starts_is_started_again(
    make_sandbox: Make, write: Write, tmp_path: Path
) -> None:
    sandbox = make_sandbox(None, str(tmp_path / "starts"), target="tests.rasterize.faults:KilledAtStart")
    assert (await render_one(sandbox, write(PAGE))).failure is None
    assert (tmp_path / "starts").read_bytes() == b"xxx"


# Documents that really do it.


async def test_a_page_that_really_never_ends(make_sandbox: Make, write: Write) -> None:
    sandbox = make_sandbox(RenderSettings(page_cpu_s=1.0))
    assert failure_kind(await render_one(sandbox, write(documents.endless_pdf()))) == "render_timeout"


async def test_an_image_that_really_needs_too_much_memory(make_sandbox: Make, write: Write) -> None:
    # The libraries alone take up to 215 MB, depending on numpy's version; the image wants 147 MB more.
    sandbox = make_sandbox(RenderSettings(memory_mb=260))
    big = write(documents.image((7000, 7000), compress_level=1), "big")
    plain = write(PAGE, "plain")
    assert failure_kind(await render_one(sandbox, big)) == "render_memory"
    assert (await render_one(sandbox, plain)).failure is None


async def test_a_pdf_image_beyond_the_limit_is_rendered_within_it(make_sandbox: Make, write: Write) -> None:
    sandbox = make_sandbox(RenderSettings(memory_mb=300))
    bomb = documents.image_pdf(documents.zeros_deflated(400_000_000), 20000, 20000, "FlateDecode")
    assert (await render_one(sandbox, write(bomb))).failure is None


async def test_pixel_bombs(make_sandbox: Make, write: Write) -> None:
    sandbox = make_sandbox(RenderSettings(max_pixels=1_000_000))
    for mode, file_format in (
        ("1", "PNG"), ("L", "TIFF"), ("L", "GIF"), ("RGB", "WEBP"), ("L", "AVIF"), ("L", "JPEG2000"), ("1", "PPM"),
    ):  # fmt: skip
        page = await render_one(sandbox, write(documents.image((2000, 1000), mode, file_format), file_format))
        assert failure_kind(page) == "too_many_pixels", file_format
        assert page.failure is not None and "2000 x 1000 px" in page.failure.message


async def test_a_large_jpeg_is_decoded_smaller_instead(make_sandbox: Make, write: Write) -> None:
    sandbox = make_sandbox(RenderSettings(max_pixels=6_000_000))
    path = write(documents.image((4000, 5000), "L", "JPEG"))
    assert image_of(await render_one(sandbox, path, "base")).num_image_tokens == 273


async def test_a_bomb_beyond_every_reduction(make_sandbox: Make, write: Write) -> None:
    sandbox = make_sandbox(RenderSettings(max_pixels=10_000))
    path = write(documents.image((1200, 1200), "L", "PNG"))
    assert failure_kind(await render_one(sandbox, path)) == "too_many_pixels"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "JPEG2000", "PPM"])
async def test_cut_images(sandbox: Sandbox, write: Write, file_format: str) -> None:
    data = documents.image(file_format=file_format)
    assert failure_kind(await render_one(sandbox, write(data[: len(data) // 2]))) == "image_truncated"


async def test_a_page_that_is_not_there(sandbox: Sandbox, write: Write) -> None:
    missing, there = await render(sandbox, write(PAGE), (1, 0))
    assert failure_kind(missing) == "page_missing"
    assert there.failure is None
    assert failure_kind((await render(sandbox, write(documents.image(), "image"), (4,)))[0]) == "page_missing"


@pytest.mark.parametrize("filter_name", ["JPXDecode", "DCTDecode", "FlateDecode"])
async def test_a_page_whose_only_image_cannot_be_decoded_is_not_blank(
    sandbox: Sandbox, write: Write, filter_name: str
) -> None:
    """MuPDF draws nothing, says so in passing and succeeds; the page must not pass for an empty one."""
    path = write(documents.image_pdf(b"\xff\xd8\xffgarbage, not an image", 300, 300, filter_name))
    page = await render_one(sandbox, path)
    assert failure_kind(page) == "render_error"
    assert page.failure is not None and "nothing was drawn" in page.failure.message


async def test_an_encrypted_page(sandbox: Sandbox, write: Write) -> None:
    page = await render_one(sandbox, write(documents.encrypted_pdf("secret")))
    assert failure_kind(page) == "needs_password"
    assert page.failure is not None and "password" in page.failure.message


async def test_a_file_replaced_under_the_same_path(sandbox: Sandbox, write: Write) -> None:
    blank = image_of(await render_one(sandbox, write(documents.pdf([""]))))
    again = image_of(await render_one(sandbox, write(documents.pdf(["not blank any more"]))))
    assert blank.sha256 != again.sha256


async def test_a_file_replaced_between_two_pages_gives_no_mixed_document(sandbox: Sandbox, write: Write) -> None:
    path, other = write(THREE_PAGES), write(documents.pdf(["quite", "another", "document"]), "other")
    expected = [image_of(page).sha256 for page in await render(sandbox, path, (0, 1, 2))]
    got = []
    async for page, _ in sandbox.rasterize(path, source_of(path, 3), (0, 1, 2), "base"):
        assert page.image_info is not None
        got.append(page.image_info.sha256)
        if other.exists():
            other.replace(path)
            await render_one(sandbox, path)  # which makes the process let go of the first one
    assert got == expected


async def test_without_mupdf_pdfium_does_all_and_mupdf_is_refused(
    make_sandbox: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymupdf", None)
    with pytest.raises(MissingDependency, match="--renderer pdfium"):
        make_sandbox(RenderSettings(renderer="mupdf"))
    sandboxes = [make_sandbox(settings) for settings in (RenderSettings(), RenderSettings(renderer="pdfium"))]
    monkeypatch.undo()
    for sandbox in sandboxes:
        page = await render_one(sandbox, write(PAGE))
        assert (page.renderer, page.failure) == ("pdfium", None)


async def test_images_go_to_pillow(sandbox: Sandbox, write: Write) -> None:
    page = await render_one(sandbox, write(documents.image(), "named.pdf"), "gundam")
    assert page.renderer == "pillow"
    top = image_of(page).views[0][:60]
    assert np.asarray(Image.fromarray(top).convert("L")).mean() < 40
