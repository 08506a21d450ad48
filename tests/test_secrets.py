"""What is hidden and what is not; and that a secret is in nothing that a run writes or says."""

from __future__ import annotations

import base64
import logging
import pickle
import sys
from pathlib import Path

import pytest

from quire.config.sections import StorageSettings
from quire.errors import PageRejected, StorageError
from quire.jobs import cli
from quire.jobs.cli import main
from quire.jobs.fault import fault_in_words
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.secrets import holds_secret, is_secret, redacted, secret_values, without_secrets
from quire.storage import open_folder
from tests.conftest import TestBucket
from tests.documents import pdf
from tests.rigs.chat_server import chat_server
from tests.rigs.endpoint import free_port
from tests.runs import SCRIPTED, quire, read_table, scripted_settings, set_options

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no answer from http://me:s3cr3t@host:8000/v1: x", "no answer from http://***@host:8000/v1: x"),
        ("http://s3cr3t@host", "http://***@host"),
        ("Invalid endpoint: me:s3cr3t@host", "Invalid endpoint: ***@host"),
        ("socks5://me:s3cr3t@host", "socks5://***@host"),
        ("HTTPS://me:s3cr3t@host", "HTTPS://***@host"),
        ('Invalid endpoint: "http://me:s3cr3t@host:port"', 'Invalid endpoint: "http://***@host:port"'),
        ("http://me:s3/cr3t?@host/a", "http://***@host/a"),
        ("http://me:s3@s3cr3t@host/a", "http://***@host/a"),
        ("https://host/a.pdf?X-Amz-Signature=s3cr3t&x=1, and", "https://host/a.pdf?*** and"),
        ("write 'hf_token=s3cr3t'", "write 'hf_token=***'"),
        ("(given: {'hf_token': 's3 cr3t', 'a': 1})", "(given: {'hf_token': ***, 'a': 1})"),
        ('vllm.extra={"hf_token" = "s3cr3t"}', 'vllm.extra={"hf_token" = ***}'),
        ("credentials={user='s3cr3t', pass='s3cr3t'}", "credentials=***"),
        ("Authorization: Bearer s3cr3t", "Authorization: ***"),
        ("AWS_SECRET_ACCESS_KEY=s3cr3t", "AWS_SECRET_ACCESS_KEY=***"),
        ("DB_PASSWORD='s3cr3t' x", "DB_PASSWORD=*** x"),
    ],
)
def test_what_is_hidden(text: str, shown: str) -> None:
    assert holds_secret(text) and redacted(text) == shown
    assert redacted(shown) == shown
    for error in (
        StorageError(text),
        PageRejected("refused", text),
        pickle.loads(pickle.dumps(StorageError(text))),  # noqa: S301 - as Ray passes it on
    ):
        assert SECRET not in f"{error} {error!r} {error.args}"


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/v1/@x",
        "ask http://127.0.0.1:8000 or a@b",
        "s3://bucket/a:b/c@d.pdf?x=1",
        "s3://bucket/key=5/primary_key=6.pdf",
        "file:///a:b@c.pdf",
        "wants a token, or another one: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH",
        "engine.max_output_tokens=8192",
        "does not end in /v1?",
    ],
)
def test_what_is_shown_as_it_is(text: str) -> None:
    assert not holds_secret(text)


@pytest.mark.parametrize(
    ("names", "are_secret"),
    [
        (
            "hf_token token api-key OPENAI_API_KEY AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID Authorization passwd",
            True,
        ),
        ("max_output_tokens eos_token_id num_key_value_heads kms_key_id key TOKENIZERS_PARALLELISM model", False),
    ],
)
def test_what_names_a_secret(names: str, are_secret: bool) -> None:
    assert [name for name in names.split() if is_secret(name) is not are_secret] == []


def test_values_lose_their_secrets_and_nothing_else() -> None:
    value = {
        "seed": 1,
        "hf_token": SECRET,
        "to": "http://me:s3cr3t@h/",
        "more": [{"api_key": SECRET, "b": [None]}],
    }
    assert without_secrets(value) == {"seed": 1, "to": "http://***@h/", "more": [{"b": [None]}]}
    assert without_secrets("Read http://a@b and token='x'") == "Read http://a@b and token='x'", (
        "a prompt is no URL"
    )


def test_what_is_known_is_hidden_wherever_it_stands() -> None:
    """As where a library repeats what it was given, under another name or none."""
    given = {
        "model": "m",
        "hf_token": SECRET,
        "more": [{"api_key": "0th3r", "auth": {"user": "me", "token": "n3st"}}],
    }
    known = secret_values(given)
    assert sorted(known) == ["0th3r", "n3st", SECRET]
    assert redacted("hf_token\n  no bool [input_value='s3cr3t'], m, 0th3r", ["", *known]) == (
        "hf_token\n  no bool [input_value='***'], m, ***"
    )


def files_with_secret(folder: Path) -> list[Path]:
    encoded = base64.b64encode(f"me:{SECRET}".encode())
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if SECRET.encode() in (data := path.read_bytes()) or encoded in data]


def test_a_password_of_a_server_reaches_the_server_and_nothing_else(tmp_path: Path) -> None:
    """One that reads, takes no logprobs, and says more than it should; then one that refuses the password."""
    (tmp_path / "a.pdf").write_bytes(pdf(["one"]))
    with chat_server() as server:
        server.takes_logprobs = False
        url = server.url.replace("//", f"//me:{SECRET}@")
        options = set_options(("engine.name=http", "engine.model=m", f"http.url={url}", "render.num_workers=1"))
        arguments = [str(tmp_path / "a.pdf"), "--output", str(tmp_path / "out"), *options]
        read = quire("-vv", "convert", *arguments)
        assert read.returncode == 0, read.stderr
        assert base64.b64decode(server.headers[0]["authorization"].split()[1]) == f"me:{SECRET}".encode()
        server.at_the_door = 401
        refused = quire(
            "-vv", "convert", *arguments[: -len(options)], "--output", str(tmp_path / "other"), *options
        )
    assert refused.returncode == 1 and "refuses the key" in refused.stderr
    for done in (read, refused):
        assert "http://***@127.0.0.1" in done.stderr
        assert SECRET not in done.stdout + done.stderr
    assert files_with_secret(tmp_path / "out") == files_with_secret(tmp_path / "other") == []


def test_a_password_of_a_store_is_in_no_object_and_in_no_word(moto_bucket: TestBucket, tmp_path: Path) -> None:
    moto_bucket.put("in/a.pdf", pdf(["one"]))
    url = moto_bucket.endpoint.url.replace("//", f"//me:{SECRET}@")
    arguments = [f"{moto_bucket.uri}/in", "--output", f"{moto_bucket.uri}/out", "--endpoint-url", url]
    done = quire("-vv", "convert", *arguments, *set_options(SCRIPTED))
    assert done.returncode == 0, done.stderr
    results = {info.key: moto_bucket.folder("out").get(info.key) for info in moto_bucket.folder("out").list()}
    assert "quire.json" in results
    assert [key for key, data in results.items() if SECRET.encode() in data] == []
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://me:s3cr3t@127.0.0.1:{port}", r"check the network and the endpoint http://\*\*\*@127.0.0.1"),
        ("http://me:s3cr3t@127.0.0.1:1x", "port|endpoint"),
        ("http://me:s3cr3t/more@127.0.0.1:{port}", r"http://\*\*\*@127\.0\.0\.1.* is no URL: .* percent-encode"),
        ("me:s3cr3t@127.0.0.1", "endpoint"),
    ],
)
def test_an_endpoint_that_does_not_answer_is_named_without_its_password(
    url: str, words: str, moto_bucket: TestBucket, caplog: pytest.LogCaptureFixture
) -> None:
    settings = StorageSettings(endpoint_url=url.format(port=free_port()), max_retries=4, retry_timeout_s=2.0)
    with pytest.raises(StorageError, match=words) as caught:
        open_folder(moto_bucket.uri, settings).get("a")
    assert "s3" not in str(caught.value).replace("s3://", "").replace("S3", "").replace("--endpoint", "")
    assert SECRET not in caplog.text


async def test_a_signed_url_in_a_manifest_is_recorded_without_its_signature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(["one"]))
    (tmp_path / "list").write_text(f"{tmp_path}/a.pdf\nhttps://host/b.pdf?X-Amz-Signature={SECRET}\n")
    await make_plan(Inputs((), (str(tmp_path / "list"),), str(tmp_path / "out")), scripted_settings(tmp_path))
    assert "https://host/b.pdf?***" in read_table(tmp_path / "out", "plan")["uri"].to_pylist()
    assert files_with_secret(tmp_path / "out") == []
    assert SECRET not in str(capsys.readouterr())


def test_what_libraries_log_and_what_nobody_expected_hides_secrets_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        raise ValueError(f"cannot parse http://me:{SECRET}@host")
    except ValueError as exc:
        kind, error, trace = type(exc), exc, exc.__traceback__
        record = logging.LogRecord("library", 30, "", 1, "hf_token=%s", (SECRET,), (kind, error, trace))
        monkeypatch.setenv("QUIRE_DEBUG", "1")
        told = fault_in_words(exc)
    printed = cli._WithoutSecrets("%(message)s").format(record) + capsys.readouterr().err + told
    assert SECRET not in printed
    assert printed.count("hf_token=***") == 1 and printed.count("ValueError: cannot parse http://***@host") == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", ".", "--output", "out", "--set", f"hf_token={SECRET}"],
        ["plan", ".", "--output", "out", "--set", f"vllm.extra=hf_token={SECRET}"],
        ["plan", f"https://host/a?sig={SECRET}", "--output", "out"],
        ["engines", f"http://me:{SECRET}@host"],
    ],
)
def test_a_command_line_that_is_refused_is_not_repeated_with_its_secrets(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["quire", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code in (1, 2) and "***" in told.err
    assert SECRET not in told.err + told.out
