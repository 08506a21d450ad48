"""The HTTP engine against the real `vllm serve`, with our model class and the small random checkpoint behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quire.config.settings_file import load_settings
from quire.engines.http_engine import HttpEngine
from quire.errors import EngineFailure, PageRejected
from quire.records import PageImage, Request
from tests.rigs.endpoint import free_port
from tests.rigs.small_model import small_model
from tests.rigs.vllm_environment import ENVIRONMENT
from tests.waiting import wait_for

_ARGUMENTS = [
    "--served-model-name=m", "--host=127.0.0.1", "--dtype=float32", "--max-model-len=2048", "--max-num-seqs=4",
    "--max-num-batched-tokens=4096", "--kv-cache-memory-bytes=67108864", "--enforce-eager",
    "--no-enable-prefix-caching", "--mm-processor-cache-gb=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--model={small_model(folder)}"]
    environment = {**os.environ, **ENVIRONMENT}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, *_ARGUMENTS, f"--port={port}"], env=environment, stdout=log, stderr=log
        )
    try:
        _wait(server, f"http://127.0.0.1:{port}/health", folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def _wait(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    def last_words() -> str:
        return log.read_text(errors="replace")[-3000:]

    def is_well() -> bool:
        assert server.poll() is None, f"the server ended with {server.returncode}: {last_words()}"
        try:
            urllib.request.urlopen(health, timeout=5).close()
        except OSError:
            return False
        return True

    wait_for("vllm serve to say that it is well", is_well, bound_s=600, saw=last_words)


def engine(url: str, model: str = "m") -> HttpEngine:
    options = ["engine.name=http", "engine.profile=deepseek-ocr", f"engine.model={model}", f"http.url={url}"]
    settings = load_settings(None, options)
    return HttpEngine(settings.engine, settings.http)


def page(seed: int, height: int, width: int) -> PageImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return PageImage("ab" * 32, seed, "page150", width, height, 0, 0, 0, 150.0, f"sha{seed}", (pixels,))


def request(max_output_tokens: int = 12) -> Request:
    return Request("page150", "<image>\n<|grounding|>Convert the document to markdown.", 0.0, max_output_tokens)


@pytest.mark.timeout(900)
async def test_a_real_server_reads_refuses_and_goes_on(url: str) -> None:
    reader, stranger = engine(url), engine(url, "other")
    first = await reader.recognize(page(1, 1100, 800), request())
    assert (first.finish_reason, first.num_output_tokens) == ("length", 12)
    assert first.text and first.mean_logprob is not None and first.mean_logprob < 0
    assert (await reader.recognize(page(1, 1100, 800), request())).text == first.text
    assert (await reader.recognize(page(2, 300, 300), request())).text != first.text, "another page, without tiles"
    with pytest.raises(PageRejected, match="refused.*max_model_len"):
        await reader.recognize(page(1, 1100, 800), request(20_000))
    with pytest.raises(EngineFailure, match="has no model other"):
        await stranger.recognize(page(1, 1100, 800), request())
    assert (await reader.recognize(page(1, 1100, 800), request())).text == first.text
    await reader.close()
    await stranger.close()
