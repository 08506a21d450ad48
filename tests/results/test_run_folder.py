"""`quire.json`: whom a folder takes, also after an upgrade; what it tells of versions; and that it holds no secret."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from quire.config import results
from quire.config.results import fingerprint, result_settings
from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.errors import SettingsChanged
from quire.estimate.record import Estimate, read_estimate, write_estimate
from quire.jobs.answer import Answer
from quire.jobs.status import status_command
from quire.jobs.terminal import Terminal
from quire.results.run_folder import (
    claim,
    fingerprint_in,
    note_versions,
    provenance,
    read,
    refuse_other_settings,
    version,
    versions_of,
)
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import Folder, open_folder
from tests.documents import pdf
from tests.runs import read_table, scripted_settings, write_samples

VLLM = ("engine.name=vllm", "engine.model=/model", "engine.model_revision=abc")


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return open_folder(str(tmp_path / "out"), StorageSettings())


def vllm(*overrides: str) -> Settings:
    return load_settings(None, [*VLLM, *overrides])


def write_as_before(folder: Folder, settings: Settings, **changes: Any) -> str:
    """What the first version of Quire wrote: the fingerprint of all settings, changed ones included. Returns it."""
    written = {**json.loads(json.dumps(result_settings(settings))), **changes}
    old = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:16]
    described = {"quire_version": "0.0.1", "fingerprint": old, "settings": written, "versions": {"numpy": "1.0"}}
    folder.put("quire.json", json.dumps(described).encode())
    return old


def replace_in_description(folder: Folder, **values: Any) -> None:
    folder.put("quire.json", json.dumps({**json.loads(folder.get("quire.json")), **values}).encode())


async def test_a_folder_of_another_kind_of_fingerprint_goes_on_with_it(tmp_path: Path, output: Folder) -> None:
    settings = scripted_settings(tmp_path, num_words=7)
    old = write_as_before(output, settings)
    assert old != fingerprint(settings)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    (tmp_path / "in").mkdir()
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / "in" / name).write_bytes(pdf([name]))
        account = await convert(inputs, settings, use_ray=False)
    assert account.num_shards == account.num_shards_done == 2 and not account.problems
    for table in ("pages", "documents"):
        assert set(read_table(tmp_path / "out", table)["config_fingerprint"].to_pylist()) == {old}
    assert read(output)["fingerprint"] == fingerprint_in(output, settings) == old


def test_a_setting_that_is_new_and_left_alone_locks_no_folder(
    output: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`memory_mb` stands for a setting of the next release that changes results."""
    before, settings = fingerprint(Settings()), Settings()
    claim(output, settings)
    of_render = (*results._CHANGES_RESULTS["render"], "memory_mb")
    monkeypatch.setattr(results, "_CHANGES_RESULTS", {**results._CHANGES_RESULTS, "render": of_render})
    assert fingerprint(settings) == before
    claim(output, settings)
    refuse_other_settings(output, settings)
    changed = load_settings(None, ["render.memory_mb=99"])
    assert fingerprint(changed) != before
    with pytest.raises(SettingsChanged, match="render.memory_mb: was 1024, now 99"):
        claim(output, changed)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine.prompt": "x"}, r"engine.prompt: was 'x', now ''"),
        ({"results_version": 0}, r"results_version: was 0, now 1"),
        ({"engine.of_tomorrow": 7}, r"engine.of_tomorrow: was 7, now unknown: another version of Quire"),
    ],
)
def test_the_settings_themselves_are_compared(changes: Mapping[str, Any], words: str, output: Folder) -> None:
    """A default that another version changed is seen, though the fingerprint leaves defaults out."""
    claim(output, Settings())
    replace_in_description(output, settings={**result_settings(Settings()), **changes})
    for take in (claim, refuse_other_settings):
        with pytest.raises(SettingsChanged, match=words):
            take(output, Settings())
    assert fingerprint_in(output, Settings()) == fingerprint(Settings())


@pytest.mark.parametrize("name", ["rapidocr", "tesseract", "http", "vllm", "scripted"])
def test_engines_have_fingerprints_of_their_own(name: str) -> None:
    others = {"rapidocr", "tesseract", "http", "vllm", "scripted"} - {name}
    of = {other: fingerprint(load_settings(None, [f"engine.name={other}"])) for other in (name, *others)}
    assert len(set(of.values())) == len(of)


def test_an_estimate_is_found_by_the_run_that_it_is_for(output: Folder) -> None:
    settings = scripted_settings(Path("/nowhere"))
    old = write_as_before(output, settings)
    assert provenance(output, settings)["config_fingerprint"] == old
    write_estimate(output, Estimate(fingerprint_in(output, settings), "", 1, 1, 1, 1, 1, "core", 1, 0, {}))
    assert read_estimate(output, read(output)["fingerprint"]) is not None


def test_a_token_is_kept_nowhere_and_may_be_another_one_the_next_time(output: Folder) -> None:
    first = vllm('vllm.extra={hf_token="s3cr3t", seed=7}', 'vllm.hf_overrides={vision={api_key="s3cr3t"}}')
    claim(output, first)
    assert b"s3cr3t" not in output.get("quire.json") and read(output)["settings"]["vllm.extra"] == {"seed": 7}
    claim(output, vllm('vllm.extra={hf_token="the-next", seed=7}', "vllm.hf_overrides={vision={}}"))
    with pytest.raises(SettingsChanged) as refused:
        claim(output, vllm('vllm.extra={hf_token="the-next", seed=8}'))
    assert "{'seed': 7}, now {'seed': 8}" in str(refused.value)
    assert "s3cr3t" not in str(refused.value) and "the-next" not in str(refused.value)


def test_a_secret_that_an_earlier_version_wrote_is_removed_and_locks_nothing(output: Folder) -> None:
    settings = vllm('vllm.extra={hf_token="the-next"}')
    write_as_before(output, settings, **{"vllm.extra": {"hf_token": "s3cr3t"}})
    refuse_other_settings(output, settings)
    claim(output, settings)
    note_versions(output)
    assert b"s3cr3t" not in output.get("quire.json")


def test_other_versions_are_told_each_time_and_recorded_once(output: Folder) -> None:
    assert note_versions(output) == "", "no folder, no versions"
    claim(output, Settings())
    as_begun = output.get("quire.json")
    assert note_versions(output) == "" and output.get("quire.json") == as_begun
    versions = json.loads(as_begun)["versions"]
    replace_in_description(output, quire_version="0.0.1", versions={**versions, "numpy": "1.0", "of_old": "1"})
    for _ in range(2):
        told = note_versions(output)
        assert told == f"quire 0.0.1 → {version()}, numpy 1.0 → {versions['numpy']}"
    assert [each["numpy"] for each in versions_of(read(output))] == ["1.0", versions["numpy"]]


async def test_a_run_and_its_status_say_that_versions_changed(
    tmp_path: Path, output: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path / "in", 1)
    settings = scripted_settings(tmp_path)
    write_as_before(output, settings)
    await make_plan(Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out")), settings, Terminal())
    assert "was begun with other versions: quire 0.0.1 → " in capsys.readouterr().err
    answer = Answer()
    status, _ = (
        CliRunner().invoke(status_command, [output.uri, *words], obj=answer) for words in ([], ["--json"])
    )
    assert "versions   of several runs: quire 0.0.1 → " in status.output
    assert [each["quire"] for each in answer.fields["versions"]] == ["0.0.1", version()]
