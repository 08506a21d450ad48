"""The HTTP engine against a server that is real but for the reading, with the faults that servers have."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quire.config.results import result_settings
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.engines.choose import make_engine
from quire.engines.http_engine import HttpEngine
from quire.errors import ConfigError, EngineAway, EngineDead, EngineFailure, PageRejected
from quire.records import PageImage, Request
from tests.rigs.chat_server import ChatServer, chat_server
from tests.rigs.endpoint import free_port
from tests.runs import quire, read_table, set_options, write_samples
from tests.waiting import wait_for, wait_in_loop

pytest.importorskip("openai", reason="the extra http is not installed")

KEY = "sk-this-is-secret"
REQUEST = Request("dpi144x28", "OCR:", 0.3, 512)


def page(content_box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> PageImage:
    pixels = np.random.default_rng(1).integers(0, 256, (56, 84, 3)).astype(np.uint8)
    tile = np.zeros((640, 640, 3), np.uint8)
    return PageImage("ab" * 32, 0, "dpi144x28", 84, 56, 0, 0, 0, 144.0, "sha", (tile, pixels), content_box)


def settings_of(server: ChatServer, *overrides: str) -> Settings:
    options = [
        "engine.name=http", "engine.model=m", f"http.url={server.url}", "http.max_retries=2", "http.read_timeout_s=20",
    ]  # fmt: skip
    return load_settings(None, [*options, *overrides])


def engine(server: ChatServer, *overrides: str) -> HttpEngine:
    settings = settings_of(server, *overrides)
    return HttpEngine(settings.engine, settings.http, KEY)


async def test_what_is_sent_and_what_comes_back() -> None:
    with chat_server() as server:
        reader = engine(server, "engine.top_p=0.9")
        recognition = await reader.recognize(page(), REQUEST)
        await reader.close()
    assert recognition.text == "# A page of (84, 56)\n\nText"
    assert (recognition.finish_reason, recognition.num_output_tokens) == ("stop", 7)
    assert recognition.mean_logprob == -0.5
    (sent,) = server.requests
    assert np.array_equal(np.asarray(server.image()), page().views[-1]), "lossless, and the last view"
    assert sent["messages"][0]["content"][1] == {"type": "text", "text": "OCR:"}
    assert (sent["model"], sent["temperature"], sent["top_p"], sent["max_tokens"]) == ("m", 0.3, 0.9, 512)
    assert "vllm_xargs" not in sent and "skip_special_tokens" not in sent
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_native_models_get_their_guard_and_keep_their_tags() -> None:
    with chat_server() as server:
        reader = engine(server, "engine.profile=deepseek-ocr")
        await reader.recognize(page(), Request("page150", "", 0.0, 8192))
        await reader.close()
    (sent,) = server.requests
    assert sent["vllm_xargs"] == {"ngram_size": 30, "window_size": 90, "whitelist_token_ids": [128821, 128822]}
    assert sent["skip_special_tokens"] is False
    assert len(sent["messages"][0]["content"]) == 1, "no prompt, no text"


async def test_padding_is_not_sent_and_jpeg_is_if_asked_for() -> None:
    with chat_server() as server:
        reader = engine(server, "http.image_format=jpeg")
        await reader.recognize(page((0.0, 0.25, 0.5, 0.75)), REQUEST)
        await reader.close()
    assert (server.image().size, server.image().format) == ((42, 28), "JPEG")


async def test_an_answer_that_was_cut_off_without_logprobs() -> None:
    with chat_server("cut_off") as server:
        reader = engine(server)
        recognition = await reader.recognize(page(), REQUEST)
        await reader.close()
    assert (recognition.finish_reason, recognition.mean_logprob) == ("length", None)


@pytest.mark.parametrize("faults", [(503, 503), ("cut", 500), (429, "cut"), (408, 409)])
async def test_passing_faults_are_ridden_out(faults: tuple[int | str, ...]) -> None:
    with chat_server(*faults) as server:
        reader = engine(server)
        assert (await reader.recognize(page(), REQUEST)).text.startswith("# A page")
        await reader.close()
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("faults", "error", "words", "num_requests"),
    [
        ((400, 400), PageRejected, "refused: .*status 400 as told", 2),
        ((413,), PageRejected, "status 413", 1),
        ((422, 422), PageRejected, "status 422", 2),
        (("filtered",), PageRejected, "content_filter", 1),
        ((401,), EngineFailure, "refuses the key in OPENAI_API_KEY", 1),
        ((404,), EngineFailure, r"has no model m, or takes .* end in /v1\?\): .*status 404 as told", 1),
        ((429, 429, 429), EngineAway, "fails with 429", 3),
        ((503, 503, 503), EngineDead, "fails with 503", 3),
        (("cut", "cut", "cut"), EngineDead, "no answer from http://127", 3),
        (("garbage",), EngineDead, "no answer|no chat completion", 1),
        (("odd",), EngineDead, "no chat completion", 1),
    ],
)
async def test_whose_fault_it_is(
    faults: tuple[int | str, ...], error: type[Exception], words: str, num_requests: int
) -> None:
    with chat_server(*faults) as server:
        reader = engine(server)
        with pytest.raises(error, match=words) as caught:
            await reader.recognize(page(), REQUEST)
        await reader.close()
    assert len(server.requests) == num_requests
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_stall_ends_at_the_timeout() -> None:
    with chat_server("stall") as server:
        reader = engine(server, "http.read_timeout_s=0.2", "http.max_retries=0")
        with pytest.raises(EngineDead, match="no answer"):
            await reader.recognize(page(), REQUEST)
        await reader.close()


def test_a_password_that_is_not_percent_encoded_is_told_without_it() -> None:
    settings = load_settings(None, ["engine.name=http", "engine.model=m", "http.url=http://me:pass/word@host/v1"])
    with pytest.raises(ConfigError, match=r"http://\*\*\*@host/v1: .* percent-encode") as caught:
        HttpEngine(settings.engine, settings.http, KEY)
    assert "pass/" not in str(caught.value)


async def test_nobody_there() -> None:
    """The page never came to a server, so it is not under suspicion."""
    reader = engine(ChatServer(url=f"http://127.0.0.1:{free_port()}/v1"), "http.max_retries=0")
    with pytest.raises(EngineAway, match="no answer"):
        await reader.recognize(page(), REQUEST)
    await reader.close()


@pytest.mark.parametrize(
    ("faults", "kind"),
    [((429, 429), EngineAway), ((500, 429), EngineDead), (("cut", 429), EngineDead), ((429, 500), EngineDead)],
)
async def test_a_page_that_a_server_may_have_seen_is_not_innocent(
    faults: tuple[int | str, ...], kind: type[EngineDead]
) -> None:
    """At any of its tries: what ended the server may have been this page, whatever is said at the last one."""
    with chat_server(*faults) as server:
        reader = engine(server, "http.max_retries=1")
        with pytest.raises(EngineDead) as caught:
            await reader.recognize(page(), REQUEST)
        await reader.close()
    assert type(caught.value) is kind and len(server.requests) == 2


async def test_a_server_without_the_model_says_which_it_has() -> None:
    with chat_server(404) as server:
        server.models = ["one", "two", "three", "four", "five", "six"]
        reader = engine(server)
        with pytest.raises(
            EngineFailure, match=r"has no model m; it has one, two, three, four, five, … \(set engine"
        ):
            await reader.recognize(page(), REQUEST)
        await reader.close()


async def test_a_server_that_takes_no_logprobs_is_asked_for_none(caplog: pytest.LogCaptureFixture) -> None:
    with chat_server() as server:
        server.takes_logprobs = False
        reader = engine(server)
        for _ in range(2):
            assert (await reader.recognize(page(), REQUEST)).text.startswith("# A page")
        await reader.close()
    assert ["logprobs" in sent for sent in server.requests] == [True, False, False]
    assert caplog.text.count("takes no logprobs") == 1


async def test_a_server_that_has_read_a_page_with_logprobs_is_asked_for_them_for_good() -> None:
    with chat_server("", 400, "") as server:
        reader = engine(server)
        await reader.recognize(page(), REQUEST)
        with pytest.raises(PageRejected):
            await reader.recognize(page(), REQUEST)
        assert (await reader.recognize(page(), REQUEST)).mean_logprob == -0.5
        await reader.close()
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("at_the_door", "error", "words"),
    [
        (200, None, ""),
        (404, None, ""),
        (405, None, ""),
        (501, None, ""),
        (401, EngineFailure, "refuses the key in OPENAI_API_KEY"),
        (403, EngineFailure, "refuses the key"),
        (500, EngineDead, "fails with 500"),
        (503, EngineDead, "fails with 503"),
    ],
)
async def test_an_engine_starts_where_somebody_answers(
    at_the_door: int, error: type[Exception] | None, words: str
) -> None:
    with chat_server() as server:
        server.at_the_door = at_the_door
        settings = settings_of(server)
        if error is None:
            reader = await HttpEngine.start(settings.engine, settings.http, KEY)
            assert (await reader.recognize(page(), REQUEST)).text.startswith("# A page")
            await reader.close()
        else:
            with pytest.raises(error, match=words):
                await HttpEngine.start(settings.engine, settings.http, KEY)
    assert len(server.requests) == (error is None)


async def test_no_engine_starts_where_nobody_is() -> None:
    settings = settings_of(ChatServer(url=f"http://127.0.0.1:{free_port()}/v1"), "http.max_retries=0")
    with pytest.raises(EngineDead, match="no answer from .*start one with `vllm serve m`"):
        await HttpEngine.start(settings.engine, settings.http, KEY)


async def test_closing_ends_what_is_in_flight() -> None:
    with chat_server("stall") as server:
        reader = engine(server)
        pending = asyncio.create_task(reader.recognize(page(), REQUEST))
        await wait_in_loop("the page to be at the server", lambda: server.requests or pending.done())
        await reader.close()
        await reader.close()
        with pytest.raises(EngineDead, match="closed"):
            await pending
        with pytest.raises(EngineDead, match="closed"):
            await reader.recognize(page(), REQUEST)


async def test_a_cancelled_page_is_cancelled_and_nothing_else() -> None:
    with chat_server("stall") as server:
        reader = engine(server)
        pending = asyncio.create_task(reader.recognize(page(), REQUEST))
        await wait_in_loop("the page to be at the server", lambda: server.requests or pending.done())
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        assert (await reader.recognize(page(), REQUEST)).finish_reason == "stop"
        await reader.close()


async def test_many_at_once_are_told_apart() -> None:
    pages = [replace(page(), views=(np.zeros((28, 28 + n, 3), np.uint8),)) for n in range(16)]
    with chat_server(503, "", 503, "", "cut") as server:
        reader = engine(server)
        answers = await asyncio.gather(*(reader.recognize(each, REQUEST) for each in pages))
        await reader.close()
    assert [a.text.split("\n")[0] for a in answers] == [f"# A page of ({28 + n}, 28)" for n in range(16)]


async def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with chat_server(503, 503, 503) as server:
        settings = load_settings(
            None,
            ["engine.name=http", "engine.model=m", f"http.url={server.url}", "http.api_key_variable=MY_KEY",
             "http.max_retries=2"],
        )  # fmt: skip
        reader = await make_engine(settings)
        with pytest.raises(EngineDead, match="503"):
            await reader.recognize(page(), REQUEST)
        await reader.close()
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    assert KEY not in str(settings) and KEY not in str(result_settings(settings))


def convert(tmp_path: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    own = (f"flow.cache_dir={tmp_path / 'cache'}", "render.num_workers=1")
    source, output = str(tmp_path / "in"), str(tmp_path / "out")
    return quire("convert", source, "--output", output, *set_options((*options, *own)), **variables)


@pytest.mark.parametrize(
    ("faults", "exit_code", "failures"),
    [((503, 400, 400), 3, ["refused"]), ((503,) * 9, 0, [])],
    ids=["refuses a page", "is down for longer than the retries last"],
)
def test_a_whole_run_with_a_server_that(
    tmp_path: Path, faults: tuple[int, ...], exit_code: int, failures: list[str]
) -> None:
    """Model, revision, prompt and what was read are in the tables; the key is nowhere."""
    num_pages = sum(write_samples(tmp_path / "in", 2).values())
    with chat_server(*faults) as server:
        options = [
            "engine.name=http", "engine.profile=olmocr-2", "engine.model_revision=abc", f"http.url={server.url}",
            "http.api_key_variable=MY_KEY", "http.max_retries=1", "http.window=1",
        ]  # fmt: skip
        done = convert(tmp_path, *options, MY_KEY=KEY)
    assert done.returncode == exit_code, done.stderr
    rows = read_table(tmp_path / "out", "pages").to_pylist()
    assert len(rows) == num_pages
    assert [row["failure"]["kind"] for row in rows if row["failure"]] == failures
    read = next(row for row in rows if row["outcome"] == "ocr")
    assert (read["engine"], read["model"], read["model_revision"]) == (
        "http",
        "allenai/olmOCR-2-7B-1025-FP8",
        "abc",
    )
    assert read["prompt"].startswith("Attached is one page") and read["mode"] == "side1288"
    assert max(read["width_px"], read["height_px"]) == 1288
    assert read["markdown"].startswith(f"# A page of ({read['width_px']}, {read['height_px']})")
    assert read["mean_logprob"] == -0.5 and read["num_output_tokens"] == 7
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert KEY.encode() not in everything and KEY not in done.stdout + done.stderr


def test_a_server_that_is_away_for_a_while_costs_no_page(tmp_path: Path) -> None:
    """It goes when it has read the first page, and comes back when it has turned away many times what the retries of
    a page are."""
    num_pages = sum(write_samples(tmp_path / "in", 3).values())
    options = [
        "engine.name=http", "engine.model=m", "http.max_retries=1", "http.window=2", 'engine.modes=["side384"]',
    ]  # fmt: skip
    with chat_server("leave") as server, ThreadPoolExecutor() as pool:
        running = pool.submit(convert, tmp_path, *options, f"http.url={server.url}")

        def is_missed() -> bool:
            assert not running.done(), running.result().stderr
            return server.num_turned_away >= 8

        try:
            wait_for("8 knocks at a server that is away", is_missed, saw=lambda: server.num_turned_away)
        finally:
            server.away.clear()  # or the run would not end
        done = running.result()
    assert done.returncode == 0, done.stderr
    assert read_table(tmp_path / "out", "pages")["failure"].null_count == num_pages


def test_a_server_that_was_never_there_is_named_once_and_not_waited_for_for_ever(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 1)
    url = f"http://127.0.0.1:{free_port()}/v1"
    done = convert(tmp_path, "engine.name=http", "engine.model=m", f"http.url={url}", "engine.start_timeout_s=1")
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if url in line]
    assert len(told) == 2, "what is waited for, and that it did not come"
    for line, words in zip(told, ("is waited for, 1 s at most", "was not ready within 1 s"), strict=True):
        assert words in line and "vllm serve m" in line and "no answer" in line
    assert not (tmp_path / "out/pages").exists()


def test_a_server_that_refuses_every_page_stops_the_run_and_leaves_no_row(tmp_path: Path) -> None:
    """Three pages in three shards: none of them is committed before the next is tried."""
    write_samples(tmp_path / "in", 2)
    with chat_server() as server:
        server.always = 400
        done = convert(
            tmp_path, "engine.name=http", "engine.model=m", f"http.url={server.url}", "plan.pages_per_shard=1"
        )
    assert done.returncode == 1
    assert "fails on a page of Quire's own, too: refused: " in done.stderr.splitlines()[-1]
    assert "status 400 as told" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out/pages").exists()


def test_a_model_must_be_named() -> None:
    done = quire("convert", ".", "--output", "out", "--set", "engine.name=http")
    assert done.returncode == 2
    assert "engine.model=NAME" in done.stderr
