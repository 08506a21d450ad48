"""`quire plan --estimate` on real files: the truth within its intervals, nothing planned, the run compared with it."""

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.errors import ConfigError, StorageError
from quire.estimate.record import Estimate
from quire.jobs.estimate import describe_estimate, describe_outcome, make_estimate
from quire.planning.probe import Prober
from quire.records import Document
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import open_folder
from tests import documents
from tests.conftest import TestBucket, keys_of
from tests.runs import quire, scripted_settings, set_options

TEXT = "\n".join([documents.LINE] * 4)  # of about as many tokens as the scripted engine writes
MODES = 'engine.modes=["tiny"]'
IMAGE_TOKENS = 73  # of a page at this mode


def write_corpus(folder: Path, lengths: Sequence[int]) -> None:
    """A PDF for each length, every fourth page of it blank."""
    folder.mkdir(parents=True)
    for number, length in enumerate(lengths):
        texts = ["" if page % 4 == 3 else f"{number} {page}\n{TEXT}" for page in range(length)]
        (folder / f"{number:03}.pdf").write_bytes(documents.pdf(texts))


def lengths_of(number: int) -> list[int]:
    """Mostly a few pages, some more, one of thirty."""
    draw = random.Random(5)
    return [30, *(min(20, int(draw.paretovariate(0.9))) for _ in range(number - 1))]


def estimated(tmp_path: Path, *overrides: str, sources: str = "in", **scripted: Any) -> tuple[Estimate, Settings]:
    settings = scripted_settings(tmp_path, MODES, *overrides, **scripted)
    inputs = Inputs((str(tmp_path / sources),), (), str(tmp_path / "out"))
    folder = open_folder(inputs.output, settings.storage)
    return asyncio.run(make_estimate(folder, inputs.refs(settings), settings)), settings


def test_an_estimate_and_the_run_that_it_foretold(tmp_path: Path) -> None:
    lengths = lengths_of(60)
    write_corpus(tmp_path / "in", lengths)
    arguments = [str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    options = set_options(
        ("engine.name=scripted", "render.num_workers=1", MODES, f"flow.cache_dir={tmp_path / 'cache'}")
    )
    told = quire("plan", *arguments, *options, "--estimate", "--sample", "20", "--json")
    assert told.returncode == 0, told.stderr
    estimate = json.loads(told.stdout)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["estimate.json"]
    assert json.loads((tmp_path / "out/estimate.json").read_text()) == estimate
    assert estimate["num_documents"] == 60 and 20 <= estimate["seen_documents"] < 35

    num_read = sum(length - length // 4 for length in lengths)
    truth = {"pages": sum(lengths), "read_pages": num_read, "image_tokens": num_read * IMAGE_TOKENS}
    for name, number in truth.items():
        figure = estimate["figures"][name]
        assert figure["low"] <= number <= figure["high"], name
        assert figure["low"] < figure["high"] < 2 * number, name

    converted = quire("convert", *arguments, *options)
    assert converted.returncode == 0, converted.stderr
    rows = {line[:24].strip(): line for line in converted.stdout.splitlines()}
    assert f"{sum(lengths)}  within" in rows["pages"]
    assert f"{num_read}  within" in rows["pages for the model"]
    assert rows["output tokens"].endswith("within")
    assert rows["a page read"].endswith("within")
    assert {"core-hours", "cost", "results"} <= rows.keys()


def test_where_a_plan_knows_the_pages_they_are_certain(tmp_path: Path) -> None:
    lengths = lengths_of(40)
    write_corpus(tmp_path / "in", lengths[:30])
    settings = scripted_settings(tmp_path, MODES)
    asyncio.run(make_plan(Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out")), settings))
    plan = (tmp_path / "out/plan/part-000000.parquet").read_bytes()
    estimate, _ = estimated(tmp_path, "cost.sample_documents=10")
    pages = estimate.figures["pages"]
    assert [pages.low, pages.value, pages.high] == pytest.approx([sum(lengths[:30])] * 3)
    assert estimate.figures["read_pages"].low < estimate.figures["read_pages"].high

    write_corpus(tmp_path / "more", lengths[30:])
    estimate, _ = estimated(tmp_path, sources="more")
    assert estimate.num_documents == 40, "what is planned, and what is new"
    assert estimate.figures["pages"].value == pytest.approx(sum(lengths))
    assert (tmp_path / "out/plan/part-000000.parquet").read_bytes() == plan


@pytest.mark.parametrize(
    ("data", "num_pages"),
    [(documents.pdf([""] * 3), 3), (documents.encrypted_pdf("secret"), 0), (b"no document", 0), (b"", 0)],
    ids=["blank", "encrypted", "unsupported", "empty"],
)
def test_buckets_with_nothing_to_read(tmp_path: Path, data: bytes, num_pages: int) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"in/{number}.pdf").write_bytes(data)
    estimate, _ = estimated(tmp_path)
    assert estimate.figures["pages"].value == 3 * num_pages
    assert estimate.figures["read_pages"].high == estimate.figures["output_tokens"].high == 0
    assert "3 documents" in describe_estimate(estimate)


def test_an_error_while_looking_comes_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documents are looked at side by side, and the command prints what it knows, not groups of it."""

    async def lost(*_: object) -> Document:
        raise StorageError("the store is gone")

    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"in/{number}.pdf").write_bytes(documents.pdf([f"page {number}"]))
    monkeypatch.setattr(Prober, "probe", lost)
    with pytest.raises(StorageError, match="the store is gone"):
        estimated(tmp_path)


def test_an_estimate_over_s3_reads_the_sample_and_no_more(tmp_path: Path, moto_bucket: TestBucket) -> None:
    for number in range(40):
        moto_bucket.put(
            f"docs/{number}.pdf", documents.pdf([f"{number} {page}" for page in range(1 + number % 3)])
        )
    url = f"storage.endpoint_url={moto_bucket.endpoint.url}"
    settings = scripted_settings(tmp_path, MODES, "cost.sample_documents=8", url)
    inputs = Inputs((f"{moto_bucket.uri}/docs",), (), f"{moto_bucket.uri}/out")
    estimate = asyncio.run(make_estimate(moto_bucket.folder("out"), inputs.refs(settings), settings))
    assert (
        estimate.figures["pages"].low
        <= sum(1 + number % 3 for number in range(40))
        <= estimate.figures["pages"].high
    )
    assert 8 <= len(list((tmp_path / "cache").glob("?" * 64))) == estimate.seen_documents < 20
    assert keys_of(moto_bucket.folder("out")) == ["estimate.json"]


def test_hours_and_money_of_a_gpu(tmp_path: Path) -> None:
    """As reckoned: 203,000 to 650,000 pages of Gundam and 1,000 tokens a day of an A100, and as given."""
    write_corpus(tmp_path / "in", [3] * 6)  # none of them blank
    revision = "engine.model_revision=" + "ab" * 20
    vllm = ("engine.name=vllm", revision, 'engine.modes=["gundam"]', "ray.num_engines=2")
    estimate, _ = estimated(tmp_path, *vllm)
    figures = estimate.figures
    reckoned = figures["read_pages"].value / figures["device_hours"].value * 24
    assert 200_000 < reckoned < 1_500_000, "a little text takes less than a full page"
    assert figures["cost_usd"].value == pytest.approx(figures["device_hours"].value * 2.74)
    assert figures["run_hours"].value == pytest.approx(figures["device_hours"].value / 2)
    assert "GPU-hours, A100-40G" in describe_estimate(estimate) and "not measured" in describe_estimate(estimate)
    given, _ = estimated(tmp_path, *vllm, "cost.pages_per_gpu_day=1800", "cost.price_per_hour=10")
    assert given.figures["device_hours"].value == pytest.approx(18 * 24 / 1800)
    assert given.figures["cost_usd"].value == pytest.approx(18 * 24 / 1800 * 10)
    with pytest.raises(ConfigError, match="unknown GPU type 'V100'"):
        estimated(tmp_path, *vllm, "cost.gpu=V100")


def test_an_estimate_for_other_settings_is_not_compared(tmp_path: Path) -> None:
    write_corpus(tmp_path / "in", [2])
    estimated(tmp_path)
    settings = scripted_settings(tmp_path, 'engine.modes=["base"]')
    asyncio.run(convert(Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out")), settings, use_ray=False))
    assert describe_outcome(open_folder(str(tmp_path / "out"), StorageSettings())) == ""


def test_engines_that_count_no_tokens_and_servers_of_unknown_speed(tmp_path: Path) -> None:
    write_corpus(tmp_path / "in", [2, 3])
    estimate, _ = estimated(tmp_path, "engine.name=rapidocr", 'engine.modes=["page150"]')
    assert not {"output_tokens", "image_tokens"} & estimate.figures.keys()
    hours = estimate.figures["device_hours"]
    assert hours.value == pytest.approx(5 * 4 / 3600)
    assert hours.low < hours.value < hours.high
    server, _ = estimated(tmp_path, "engine.name=http", "engine.profile=olmocr-2")
    assert "device_hours" not in server.figures
    assert "--pages-per-gpu-day" in describe_estimate(server)
