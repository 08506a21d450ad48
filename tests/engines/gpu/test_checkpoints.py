"""Which revision of a model a run pins: a commit of the hub, or what a folder holds. No network is asked."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quire.config.settings_file import load_settings
from quire.engines.choose import pinned
from quire.engines.gpu.checkpoints import local_checkpoint, pin_revision
from quire.errors import ConfigError
from quire.results.run_folder import provenance
from quire.storage import open_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def checkpoint(directory: Path, weights: bytes = b"weights") -> Path:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights)
    return directory


def test_a_commit_stays_what_it_is() -> None:
    assert pin_revision("owner/model", COMMIT) == COMMIT


def test_a_folder_is_named_after_its_files(tmp_path: Path) -> None:
    revisions = {
        pin_revision(str(checkpoint(tmp_path / "a")), ""),
        pin_revision(str(checkpoint(tmp_path / "b")), "main"),
        pin_revision(str(checkpoint(tmp_path / "c", b"others")), ""),
    }
    assert len(revisions) == 2 and all(len(revision) == 16 for revision in revisions)


def test_a_run_pins_what_it_records(tmp_path: Path) -> None:
    settings = load_settings(None, ["engine.name=vllm", f"engine.model={checkpoint(tmp_path / 'a')}"])
    folder = open_folder(str(tmp_path / "out"), settings.storage)
    revision = provenance(folder, pinned(settings))["model_revision"]
    assert revision == pin_revision(settings.engine.model, "")
    assert provenance(folder, settings)["model_revision"] == ""
    server = load_settings(None, ["engine.name=http", "engine.model=m"])
    assert pinned(server) == server, "what a server runs is not to be known"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("", "engine.model is empty"),
        ("/nowhere/at/all", "there is no folder /nowhere/at/all"),
        ("./nowhere", "there is no folder ./nowhere"),
        ("~/models/ocr", "there is no folder ~/models/ocr"),
        (
            "models/deepseek/ocr",
            "there is no folder models/deepseek/ocr, and models of the hub are named OWNER/NAME",
        ),
        ("{here}", "holds no checkpoint that can be read"),
    ],
)
@pytest.mark.parametrize("find", [pin_revision, local_checkpoint])
def test_a_folder_that_is_none_is_named_and_no_hub_is_asked(
    tmp_path: Path, find: Callable[[str, str], object], model: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        find(model.format(here=tmp_path), COMMIT)


TOLD_TO_BE_OFFLINE = {"HF_HUB_OFFLINE": "1"}
NOBODY_ANSWERS = {"HF_ENDPOINT": "http://127.0.0.1:1"}


def _pin(cache: Path, model: str, revision: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's client reads its environment once."""
    code = f"from quire.engines.gpu.checkpoints import pin_revision; print(pin_revision({model!r}, {revision!r}))"
    environment = {**variables, "HF_HUB_CACHE": str(cache), "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, text=True, capture_output=True, timeout=60
    )


@pytest.mark.parametrize("variables", [TOLD_TO_BE_OFFLINE, NOBODY_ANSWERS], ids=["told", "found out"])
def test_offline_it_is_what_was_fetched_before(tmp_path: Path, variables: dict[str, str]) -> None:
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "models--owner--model"
    checkpoint(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    assert _pin(tmp_path, "owner/model", "", variables).stdout.strip() == COMMIT
    refused = _pin(tmp_path, "owner/other", "v1", variables)
    assert "ConfigError: cannot find out which revision of owner/other" in refused.stderr
    assert "Set engine.model_revision to a commit" in refused.stderr
