"""Settings as keywords, and waiting for coroutines wherever one is."""

import asyncio
import dataclasses
import os
import signal
import threading
from pathlib import Path

import pytest

from quire.api.keywords import Keywords, settings_from, wait_for
from quire.config.settings import Settings
from quire.errors import ConfigError


def test_each_section_is_a_keyword() -> None:
    sections = {field.name for field in dataclasses.fields(Settings)}
    assert set(Keywords.__annotations__) == sections | {"config"}


def test_keywords_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "q.toml"
    path.write_text('[engine]\nname = "tesseract"\nmodes = ["base"]\n[render]\nrenderer = "pdfium"\n')
    settings = settings_from(
        {"config": path, "engine": {"modes": ("gundam",)}, "text": {"write_markdown_files": False}}
    )
    assert (settings.engine.name, settings.engine.modes) == ("tesseract", ("gundam",))
    assert settings.render.renderer == "pdfium" and not settings.text.write_markdown_files
    assert settings_from({"engine": "vllm"}).engine.profile  # of its own
    assert settings_from({}) == Settings()
    with pytest.raises(ConfigError, match="nearest"):
        settings_from({"engines": "x"})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(ConfigError, match="is a section"):
        settings_from({"text": "x"})  # type: ignore[typeddict-item]


def test_a_result_and_an_error_come_through_from_within_a_loop() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    async def fail() -> None:
        raise ConfigError("so it is")

    async def cell() -> int:
        with pytest.raises(ConfigError, match="so it is"):
            wait_for(fail())
        return wait_for(work())

    assert asyncio.run(cell()) != threading.get_ident()


def test_ctrl_c_ends_the_work_before_it_is_raised() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("ended")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs have not
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_for(work())
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["ended"]
    assert not [thread for thread in threading.enumerate() if thread.name == "quire"]
