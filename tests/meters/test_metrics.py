"""What a page adds to the counters, what a run on one machine serves to Prometheus, and what it says bounded it."""

import asyncio
import socket
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quire.config.sections import MetricsSettings, StorageSettings
from quire.config.settings import Settings
from quire.errors import ConfigError
from quire.flows.converter import machinery
from quire.flows.local import convert_locally
from quire.meters.bottleneck import Bound, Verdict
from quire.meters.flow_meter import RunMeter
from quire.meters.metrics import METRICS, Report, outcomes, report_nothing, tally
from quire.meters.metrics_port import metrics_port
from quire.planning.plan_log import planned_shards
from quire.records import Attempt, Failure, ImageInfo, Outcome, PageResult, Recognition
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import open_folder
from tests.conftest import TestBucket
from tests.documents import pdf
from tests.rigs.endpoint import free_port
from tests.rigs.fault_proxy import FaultRates, fault_proxy
from tests.runs import Collector, scripted_settings
from tests.waiting import BOUND_S

_IMAGE = ImageInfo("base", 1024, 1024, 273, 144.0, "sha", 3 << 20)


def _page(outcome: Outcome, failure: Failure | None = None, *attempts: Attempt) -> PageResult:
    recognition = Recognition("text", num_output_tokens=40) if attempts else None
    return PageResult(
        "id", "uri", "etag", 0, 1, outcome, "", failure, image=_IMAGE, attempts=attempts, recognition=recognition
    )


def test_what_a_page_adds_to_the_counters() -> None:
    attempts = (Attempt("base", 0.0, "loop"), Attempt("gundam", 0.4, "ok"))
    assert tally(_page(Outcome.OCR, None, *attempts)) == {
        ("quire_pages", "ocr"): 1,
        ("quire_attempts", "base", "loop"): 1,
        ("quire_attempts", "gundam@0.4", "ok"): 1,
        ("quire_tokens", "image"): 273,
        ("quire_tokens", "output"): 40,
    }


@pytest.mark.parametrize(
    ("kind", "label"),
    [("render_timeout", "render_timeout"), ('x"} 1\n<b>', "other"), ("", "other"), ("a" * 61, "other")],
)
def test_a_failure_is_counted_by_its_kind_and_no_free_text_becomes_a_label(kind: str, label: str) -> None:
    counts = tally(_page(Outcome.FAILED, Failure("rasterize", kind, "words")))
    assert counts["quire_failures", "rasterize", label] == 1
    assert outcomes(counts) == {"failed": 1}


def test_pages_that_are_done_again_are_counted_once() -> None:
    told: Counter[tuple[str, ...]] = Counter()

    def report(name: str, value: float, *labels: str) -> None:
        told[name, *labels] += int(value)

    meter = RunMeter(machinery(Settings(), 1, 2, 2), report)
    for number in (3, 7, 2, 5, 9):  # after 7, a runner is lost with the pages of its open shards
        meter.update(Counter({("quire_pages", "ocr"): number}), [])
    assert told == {("quire_pages", "ocr"): 9}


def test_every_metric_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert name.startswith("quire_") and metric.help.endswith(".")
        assert bool(metric.buckets) == (metric.kind == "histogram")


def _write_and_plan(tmp_path: Path, num_documents: int, num_pages: int) -> None:
    (tmp_path / "in").mkdir()
    for number in range(num_documents):
        (tmp_path / f"in/{number:02d}.pdf").write_bytes(pdf([f"{number} {index}" for index in range(num_pages)]))
    _plan(str(tmp_path / "in"), tmp_path)


def _plan(source: str, tmp_path: Path, *overrides: str) -> None:
    settings = scripted_settings(tmp_path / "plan", "render.num_workers=1", *overrides)  # and a cache of its own
    asyncio.run(make_plan(Inputs((source,), (), str(tmp_path / "out")), settings))


def _convert(tmp_path: Path, settings: Settings, report: Report = report_nothing) -> Verdict:
    """Convert what is planned; the results go nowhere."""
    shards = planned_shards(open_folder(str(tmp_path / "out"), StorageSettings()))
    verdict = asyncio.run(convert_locally(shards, settings, Collector().write, lambda page: None, report=report))
    assert verdict is not None
    return verdict


def test_a_run_with_a_slow_engine_is_bound_by_it_and_serves_what_it_counts(tmp_path: Path) -> None:
    _write_and_plan(tmp_path, 6, 2)
    port = free_port()
    ladder, slow = 'engine.modes=["tiny", "base"]', {"loop_share": 0.3, "window": 3, "seconds_per_page": 1.0}
    with metrics_port(MetricsSettings(port), "a run") as report:
        verdict = _convert(tmp_path, scripted_settings(tmp_path, ladder, "render.num_workers=1", **slow), report)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BOUND_S) as answer:
            families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    assert verdict.bound is Bound.ENGINE
    assert set(METRICS) <= set(families)
    samples = [sample for family in families.values() for sample in family.samples]
    assert {sample.labels["run"] for sample in samples} == {"a run"}
    values = {(sample.name, *sorted(sample.labels.values())): sample.value for sample in samples}
    assert values["quire_pages_total", "a run", "ocr"] == 12
    assert values["quire_attempts_total", "a run", "loop", "tiny"] > 0
    assert values["quire_render_seconds_count", "a run"] >= 12
    assert values["quire_bound", "a run", "engine"] == 1
    with pytest.raises(OSError):  # the port is closed when the run is over
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BOUND_S)


def test_a_port_that_is_taken_is_a_message() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(
            ConfigError, match=r"cannot serve metrics on 127.0.0.1:\d+: .*; choose another metrics.port"
        ),
        metrics_port(MetricsSettings(taken.getsockname()[1]), "a run"),
    ):
        pass


def test_a_run_with_one_renderer_and_a_fast_engine_is_bound_by_rasterization(tmp_path: Path) -> None:
    _write_and_plan(tmp_path, 3, 12)
    settings = scripted_settings(
        tmp_path, 'engine.modes=["gundam"]', "render.num_workers=1", window=8, seconds_per_page=0.02
    )
    verdict = _convert(tmp_path, settings)
    assert verdict.bound is Bound.RASTERIZATION
    assert verdict.cpus_wanted is not None and verdict.cpus_wanted > verdict.cpus


def test_a_run_with_room_for_one_page_is_bound_by_that(tmp_path: Path) -> None:
    _write_and_plan(tmp_path, 4, 8)
    settings = scripted_settings(
        tmp_path, "flow.megabytes_in_flight=1", "render.num_workers=1", window=16, seconds_per_page=0.2
    )
    assert _convert(tmp_path, settings).bound is Bound.FLOW


def test_a_run_on_a_slow_store_is_bound_by_it(tmp_path: Path, moto_bucket: TestBucket) -> None:
    for number in range(24):
        moto_bucket.put(f"in/{number:02d}.pdf", pdf([f"page {number}"]))
    _plan(f"{moto_bucket.uri}/in", tmp_path, f"storage.endpoint_url={moto_bucket.endpoint.url}")
    with fault_proxy(moto_bucket.endpoint.port, FaultRates(), delay_s=1.5) as proxy:
        settings = scripted_settings(
            tmp_path, f"storage.endpoint_url={proxy.url}", 'engine.modes=["tiny"]', window=4, seconds_per_page=0.1
        )
        assert _convert(tmp_path, settings).bound is Bound.STORE
