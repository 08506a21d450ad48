"""The engine on the real vLLM, on a CPU with a small checkpoint: what it reads, refuses, ends and survives.

An engine costs half a minute of CPU, so all tests share the process of one, and those that want other settings put
another `VllmEngine` in front of it. Answers are compared with each other, in float32.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch

from quire.config.settings import Settings
from quire.deepseek_vllm.inputs import Prompt, latents_prompt, page_prompt
from quire.deepseek_vllm.worker import EXTENSION
from quire.engines.choose import make_engine
from quire.errors import ConfigError, EngineDead, PageRejected
from quire.records import PageImage, Recognition, Request
from tests.rigs.small_model import LOOPING_LETTER, with_looping_letter, without_flask
from tests.rigs.vllm_engines import running, vllm_settings
from tests.rigs.vllm_environment import vllm_environment
from tests.slow.deepseek_vllm.pages import A4, SLIDE, page_image
from tests.waiting import wait_in_loop

if TYPE_CHECKING:
    from quire.engines.gpu.engine import VllmEngine  # imports vLLM

pytestmark = [pytest.mark.filterwarnings("default")]

Running = tuple[asyncio.Runner, "VllmEngine"]

_STUCK_AFTER_S = 15  # longer than any step takes on a busy machine
# Both pixels and latents, whichever an engine in front of it sends.
_TAKES_BOTH = (
    f'vllm.extra={{kv_cache_memory_bytes=67108864, enable_mm_embeds=true, worker_extension_cls="{EXTENSION}"}}'
)


@cache
def mixed_pages() -> list[PageImage]:
    """One a mode, drawn when the first test wants them."""
    modes = [("tiny", A4), ("base", A4), ("gundam", SLIDE), ("small", SLIDE)]
    return [page_image(mode, seed, size) for seed, (mode, size) in enumerate(modes)]


def request(mode: str, max_output_tokens: int = 40) -> Request:
    return Request(mode, "<image>\nFree OCR.", 0.0, max_output_tokens)


def read(running: Running, *pages: PageImage) -> list[Recognition]:
    """All pages at once."""
    runner, engine = running

    async def read_all() -> list[Recognition]:
        return await asyncio.gather(*(engine.recognize(page, request(page.mode)) for page in pages))

    return runner.run(read_all())


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with vllm_environment():
        yield


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_looping_letter(small_checkpoint, tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def living(checkpoint: Path) -> Iterator[Callable[[], Running]]:
    """The engine; a new one where a test has ended it, which none but the last one does."""
    engines: list[Running] = []
    with ExitStack() as stack:

        def engine() -> Running:
            if not engines or not engines[-1][1].pids:
                settings = vllm_settings(checkpoint, _TAKES_BOTH, f"vllm.stuck_after_s={_STUCK_AFTER_S}")
                engines.append(stack.enter_context(running(settings)))
            return engines[-1]

        yield engine


@pytest.fixture
def started(living: Callable[[], Running]) -> Running:
    return living()


@pytest.fixture(scope="module")
def together(living: Callable[[], Running]) -> list[Recognition]:
    return read(living(), *mixed_pages())


def in_front_of(started: Running, settings: Settings) -> Running:
    """An engine of other settings, with the process that is there."""
    from quire.engines.gpu.engine import VllmEngine
    from quire.engines.gpu.prompts import make_prompts

    runner, engine = started
    process = engine._process
    prompts = runner.run(make_prompts(settings, Path(settings.engine.model), process, is_ours=True))
    return runner, VllmEngine(settings, process, engine._window, prompts)


def test_pages_of_mixed_modes_read_as_they_do_alone(started: Running, together: list[Recognition]) -> None:
    assert [read(started, page)[0].text for page in mixed_pages()] == [answer.text for answer in together]
    assert len({answer.text for answer in together}) == len(mixed_pages()), (
        "what a page says depends on its pixels"
    )


def test_an_answer_says_how_it_ended_and_how_sure_it_is(together: list[Recognition]) -> None:
    for answer in together:
        assert answer.finish_reason == ("length" if answer.num_output_tokens == 40 else "stop")
        assert answer.mean_logprob is not None and -10 < answer.mean_logprob < 0
        assert answer.blocks is None
    assert any(answer.finish_reason == "length" for answer in together)


def test_no_three_tokens_come_twice(together: list[Recognition]) -> None:
    """The checkpoint's tokens are characters, so the guard shows in the text."""
    for answer in together:
        triples = [answer.text[index : index + 3] for index in range(len(answer.text) - 2)]
        assert len(set(triples)) == len(triples)


def test_pixels_are_let_go_with_the_first_token(started: Running) -> None:
    runner, engine = started
    page = page_image("base", 7)
    views = tuple(view.copy() for view in page.views)
    page, alive = replace(page, views=views), weakref.ref(views[-1])
    del views
    was_alive: list[bool] = []

    async def read_one(page: PageImage) -> Recognition:
        answer = engine.recognize(page, request("base"), lambda: was_alive.append(alive() is not None))
        del page
        return await answer

    task = read_one(page)
    del page
    runner.run(task)
    assert was_alive == [False]


def test_a_page_that_is_refused_disturbs_nobody(started: Running, together: list[Recognition]) -> None:
    runner, engine = started
    oversize = replace(mixed_pages()[0], views=(np.zeros((4000, 4000, 3), np.uint8),))

    async def read_all() -> list[Recognition | BaseException]:
        asked = [
            *((page, request(page.mode)) for page in mixed_pages()),
            (replace(mixed_pages()[0], mode="page150"), request("page150")),
            (oversize, request("tiny")),
            (mixed_pages()[0], Request("tiny", "a prompt without an image")),
            (mixed_pages()[0], Request("tiny", "<image>" + "too long " * 1000)),
        ]
        return await asyncio.gather(*(engine.recognize(*each) for each in asked), return_exceptions=True)

    answers = runner.run(read_all())
    texts = [answer.text for answer in answers if isinstance(answer, Recognition)]
    assert texts == [answer.text for answer in together]
    kinds = [answer.kind for answer in answers if isinstance(answer, PageRejected)]
    assert kinds == ["bad_image", "bad_image", "refused", "refused"]


def test_a_page_that_is_cancelled_ends_in_vllm_too(started: Running) -> None:
    runner, engine = started
    endless = replace(request("tiny"), max_output_tokens=1900, temperature=1.5)

    async def cancel_one() -> None:
        has_begun = asyncio.Event()
        task = asyncio.create_task(engine.recognize(page_image("tiny", 8), endless, has_begun.set))
        await wait_in_loop("a page to be begun", lambda: has_begun.is_set() or task.done(), saw=lambda: task)
        assert not task.done(), task
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (answer,) = await asyncio.gather(engine.recognize(mixed_pages()[0], request("tiny")))
        assert answer.text
        assert engine.num_running <= 1, "only the page that was read after it"

    runner.run(cancel_one())


def test_temperature_draws_the_same_for_the_same_page(started: Running, together: list[Recognition]) -> None:
    runner, engine = started
    warm = replace(request("tiny"), temperature=1.0)
    first, second = (runner.run(engine.recognize(mixed_pages()[0], warm)) for _ in range(2))
    assert first.text == second.text != together[0].text


@pytest.mark.parametrize("tower", [(), ("vllm.encoder_device=cpu",)], ids=["in vLLM's process", "in this one"])
def test_latents_say_what_pixels_say_and_are_made_once(
    tmp_path: Path, checkpoint: Path, started: Running, together: list[Recognition], tower: tuple[str, ...]
) -> None:
    """The cache between the tower and the decoder."""
    overrides = ("engine.latents=reuse", f"engine.latents_uri={tmp_path}/latents", *tower)
    engine = in_front_of(started, vllm_settings(checkpoint, *overrides))
    pages, expected = mixed_pages()[::2], [answer.text for answer in together[::2]]
    assert [answer.text for answer in read(engine, *pages)] == expected
    assert engine[1].num_encoded == len(pages)
    kept = sorted((tmp_path / "latents").rglob("*.safetensors"))
    assert {path.stem for path in kept} == {page.sha256 for page in pages}

    assert [answer.text for answer in read(engine, *pages)] == expected
    assert engine[1].num_encoded == len(pages), "nothing is encoded again"

    kept[0].write_bytes(kept[0].read_bytes()[:-64])
    kept[1].write_bytes(kept[0].read_bytes())
    assert [answer.text for answer in read(engine, *pages)] == expected
    assert engine[1].num_encoded == len(pages) + 2, "what is damaged is made again"
    assert [answer.text for answer in read(engine, *pages)] == expected
    assert engine[1].num_encoded == len(pages) + 2, "and kept"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (lambda: latents_prompt(torch.zeros(73, 257), "<image>"), "257"),
        (
            lambda: {**page_prompt(mixed_pages()[0], "<image>"), "multi_modal_data": {"image": ["a.png"]}},
            "PageViews",
        ),
    ],
    ids=["latents of another width", "a path"],
)
def test_what_the_model_does_not_take_is_refused_with_its_words(
    started: Running, prompt: Callable[[], Prompt], message: str
) -> None:
    from quire.engines.gpu.process import Sampling

    runner, engine = started

    async def ask() -> None:
        async for _ in engine._process.generate(dict(prompt()), Sampling(0.0, 1.0, 16, 0, {})):
            pass

    with pytest.raises(PageRejected, match=message):
        runner.run(ask())


@pytest.fixture
def looping(started: Running, checkpoint: Path) -> Running:
    """Without the guard; its answers to `endless` have no end."""
    return in_front_of(started, vllm_settings(checkpoint, "engine.ngram_size=0"))


endless = Request("tiny", f"<image>\nFree OCR{LOOPING_LETTER}", 0.0, 1900)


def test_a_looping_page_is_stopped(looping: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    long = 400  # what is a loop in earnest takes five times as many tokens
    monkeypatch.setattr("quire.engines.gpu.loops.LONG_LOOP", long)
    runner, engine = looping
    answer = runner.run(engine.recognize(mixed_pages()[0], endless))
    assert answer.finish_reason == "loop"
    assert long <= answer.num_output_tokens < long + 200
    assert answer.text == LOOPING_LETTER * answer.num_output_tokens


def test_a_stuck_engine_is_ended(looping: Running) -> None:
    """The process lives on and does nothing; whoever waits is told."""
    runner, engine = looping
    processes = _processes(engine)

    async def stop_it() -> None:
        has_begun = asyncio.Event()
        tasks = [asyncio.create_task(engine.recognize(mixed_pages()[0], endless, has_begun.set)) for _ in range(2)]
        await wait_in_loop("a page to be begun", lambda: has_begun.is_set() or tasks[0].done(), saw=lambda: tasks)
        assert not tasks[0].done(), tasks
        for pid in engine.pids:
            psutil.Process(pid).send_signal(signal.SIGSTOP)
        for task in tasks:
            with pytest.raises(EngineDead):
                await task
        with pytest.raises(EngineDead):
            await engine.recognize(mixed_pages()[0], endless)

    runner.run(stop_it())
    _, left = psutil.wait_procs(processes, timeout=20)
    assert not left


def _processes(engine: VllmEngine) -> list[psutil.Process]:
    own = [psutil.Process(pid) for pid in engine.pids]
    return own + [child for process in own for child in process.children(recursive=True)]


def test_a_start_that_is_given_up_leaves_nothing_behind(checkpoint: Path) -> None:
    """The next one would find the GPU taken. It is given up as soon as its process is there."""
    before = set(multiprocessing.active_children())

    def new_children() -> set[Any]:
        return set(multiprocessing.active_children()) - before

    async def give_up() -> None:
        starting = asyncio.create_task(make_engine(vllm_settings(checkpoint)))
        await wait_in_loop("vLLM's process", lambda: new_children() or starting.done(), saw=lambda: starting)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    with without_flask():
        asyncio.run(give_up())
    assert not new_children()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.model=/nowhere/at/all", "no folder"),
        ("engine.profile=olmocr-2", "vllm serve"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_vllm_starts(
    small_checkpoint: Path, override: str, message: str
) -> None:
    settings = vllm_settings(small_checkpoint, override)
    with pytest.raises(ConfigError, match=message):
        asyncio.run(make_engine(settings))
