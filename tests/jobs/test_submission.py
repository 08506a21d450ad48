"""What is refused before a cluster is asked, and what a job takes along. No Ray here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import click
import pytest
from click.testing import CliRunner

from quire.errors import QuireError
from quire.jobs.convert import convert_command
from quire.jobs.options import settings_from_parameters
from quire.jobs.packing import CREDENTIALS_FILE, command_line, pack_code, pack_credentials, pack_files
from quire.jobs.submit import _next_name, is_same_work, submit_command
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.secrets import holds_secret
from tests.conftest import TestBucket
from tests.documents import pdf
from tests.runs import scripted_settings
from tests.waiting import BOUND_S

SCRIPTED = ["--engine", "scripted"]
NOWHERE = ["--address", "http://127.0.0.1:1"]


def refusal(*arguments: str) -> str:
    """What the command says when it gives up."""
    done = CliRunner().invoke(submit_command, [*NOWHERE, *arguments])
    if isinstance(done.exception, QuireError):
        return str(done.exception)
    assert done.exit_code == 2, done.exception
    return done.output


def test_a_number_is_never_given_again_though_an_early_job_was_deleted() -> None:
    jobs = [SimpleNamespace(job_id=f"quire-convert-abc-{n}", has_ended=True) for n in (2, 10, 3)]
    jobs.append(SimpleNamespace(job_id="somebody-elses-99", has_ended=False))
    server: Any = SimpleNamespace(jobs=lambda: jobs)
    assert _next_name(server, "quire-convert-abc") == "quire-convert-abc-11"
    assert _next_name(server, "quire-convert-def") == "quire-convert-def-1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s3://b/in", "--output", "out"], "out is on this machine"),
        (["in", "--output", "s3://b/out"], "in is on this machine"),
        (["s3://b/in", "--output", "out", "--set", "ray.shared_folders=true"], "write the path in full"),
        (["--output", "s3://b/out"], "nothing to read"),
        (["s3://b/in", "--output", "s3://b/out", "--set", "engine.nam=x"], "nearest known one is engine.name"),
        (["s3://b/in", "--output", "s3://b/out", "--set", 'engine.modes=["gundamm"]'], "gundam"),
        (["s3://b/in", "--output", "s3://b/out", "--ray", "local"], "leave --ray out"),
        (["s3://b/in", "--output", "s3://b/out", "--config", "no.toml"], "no.toml"),
        (["s3://b/in"], "--output"),
        (["s3://b/in", "--output", "s3://b/out", "--engine", "magic"], "magic"),
        (["s3://b/in", "--output", "s3://b/out", "--engine", "http", "--set", "engine.model="], "which model"),
        (["--manifest", "list.txt", "--output", "s3://b/out"], "here.pdf is on this machine"),
    ],
)
def test_what_convert_would_refuse_is_refused_here(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("# mine\ns3://b/there.pdf\nhere.pdf\n")
    engine = [] if "--engine" in arguments else SCRIPTED
    assert words in refusal("convert", *arguments, *engine)


@pytest.mark.parametrize("command", ["frobnicate", "status"])
def test_only_commands_that_work_through_documents_are_submitted(command: str) -> None:
    assert command in refusal(command)


def test_an_output_of_other_settings_and_a_source_without_documents(
    moto_bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_bucket.endpoint.url)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # to be as it was afterwards
    moto_bucket.put("in/a.pdf", pdf())
    source, output = f"{moto_bucket.uri}/in", f"{moto_bucket.uri}/out"
    asyncio.run(convert(Inputs((source,), (), output), scripted_settings(tmp_path), use_ray=False))
    other = refusal("convert", source, "--output", output, *SCRIPTED, "--set", "scripted.num_words=7")
    assert "scripted.num_words: was 60, now 7" in other
    assert "no documents at" in refusal("convert", f"{source}/none", "--output", output, *SCRIPTED)
    assert "NoSuchBucket" in refusal("convert", source, "--output", "s3://no-such-bucket-here/out", *SCRIPTED)
    assert "nobody answers at http://127.0.0.1:1" in refusal("convert", source, "--output", output, *SCRIPTED)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY=x", "HF_TOKEN", "OPENAI_API_KEY", "DB_PASSWORD=x"])
def test_secrets_are_not_put_where_everybody_sees_them(name: str, moto_bucket: TestBucket) -> None:
    moto_bucket.put("in/a.pdf")
    storage = ["--endpoint-url", moto_bucket.endpoint.url]
    words = refusal(
        "--env", name, "convert", f"{moto_bucket.uri}/in", "--output", f"{moto_bucket.uri}/out", *storage
    )
    assert "everybody who may look at the cluster would see it" in words


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (["--set", 'vllm.extra={hf_token="s3cr3t"}'], {}),
        (["--set", "http.url=http://me:s3cr3t@host/v1"], {}),
        (["--endpoint-url", "{url}"], {}),
        ([], {"AWS_ENDPOINT_URL": "{url}"}),
    ],
)
def test_nor_is_a_command_line_or_an_endpoint_with_one(
    options: list[str], variables: dict[str, str], moto_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = moto_bucket.endpoint.url.replace("//", "//me:s3cr3t@")
    moto_bucket.put("in/a.pdf")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_bucket.endpoint.url)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # to be as it was afterwards
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(url=url))
    arguments = [f"{moto_bucket.uri}/in", "--output", f"{moto_bucket.uri}/out", *SCRIPTED]
    words = refusal("--env", "MODE=token", "convert", *arguments, *(o.replace("{url}", url) for o in options))
    assert "everybody who may look at the cluster would see" in words and "s3cr3t" not in words


def test_secrets_go_along_in_files(tmp_path: Path) -> None:
    (tmp_path / "quire.toml").write_text('[vllm]\nextra = {hf_token = "s3cr3t"}\n')
    context = parsed(["s3://b/in", "--config", str(tmp_path / "quire.toml"), "--output", "s3://b/out"])
    package = tmp_path / "package"
    package.mkdir()
    words = command_line(context, pack_files(package, context))
    assert (
        not any(map(holds_secret, words))
        and "s3cr3t" in (package / words[words.index("--config") + 1]).read_text()
    )


def parsed(arguments: Sequence[str]) -> click.Context:
    return convert_command.make_context("convert", list(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["s3://b/in", "--output", "s3://b/out"],
        ["--output", "s3://b/out", "--", "s3://b/in", "--odd", "s3://b/with space/*.pdf"],
        ["s3://b/in", "--output=s3://b/out", "--virtual-style", "--anonymous", "--set", 'engine.modes=["a", "b"]'],
        [
            "--manifest",
            "s3://b/1",
            "--manifest",
            "s3://b/2",
            "--output",
            "o",
            "--path-style",
            "--latents",
            "reuse",
        ],
    ],
)
def test_a_command_line_is_written_anew(arguments: list[str]) -> None:
    context = parsed(arguments)
    again = parsed(command_line(context, context.params))
    assert again.params == context.params
    assert settings_from_parameters(again.params) == settings_from_parameters(context.params)


def test_files_of_this_machine_go_along(tmp_path: Path) -> None:
    """Two of them may have the same name."""
    contents = {
        "settings/list": "[text]\nwrite_markdown_files = false\n",
        "list": "s3://b/1\n",
        "more/list": "s3://b/2\n",
    }
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    config, first, second = (str(tmp_path / name) for name in contents)
    context = parsed([f"@{first}", "--manifest", second, "--config", config, "--output", "s3://b/out"])
    package = tmp_path / "package"
    package.mkdir()
    parameters = pack_files(package, context)
    assert (package / parameters["config"]).read_text() == contents["settings/list"]
    assert (package / parameters["manifest"][0]).read_text() == contents["more/list"]
    assert (package / parameters["sources"][0][1:]).read_text() == contents["list"]
    assert str(tmp_path) not in " ".join(command_line(context, parameters))


def test_the_code_runs_where_only_its_dependencies_are(tmp_path: Path) -> None:
    pack_code(tmp_path)
    assert not list(tmp_path.rglob("*.pyc"))
    script = "import quire.jobs.cli, quire.results.run_folder as f; print(quire.jobs.cli.__file__, f.version())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
        timeout=BOUND_S,
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_credentials_go_along_when_asked_as_a_file_that_the_aws_chain_reads(
    moto_bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "%a/token=")
    pack_credentials(tmp_path)
    path = tmp_path / CREDENTIALS_FILE
    assert path.stat().st_mode & 0o077 == 0
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    found = boto3.Session().get_credentials().get_frozen_credentials()
    endpoint = moto_bucket.endpoint
    assert tuple(found)[:3] == (endpoint.access_key, endpoint.secret_key, "%a/token=")


def test_jobs_of_the_same_work_are_known_by_their_names() -> None:
    assert is_same_work("quire-plan-0a1b2c3d-12", "quire-plan-0a1b2c3d")
    assert not is_same_work("quire-plan-0a1b2c3d", "quire-plan-0a1b2c3d")
    assert not is_same_work("quire-plan-0a1b2c3d-1-more", "quire-plan-0a1b2c3d")
