"""From a run on Ray through Ray's agents into a real Prometheus: every panel of the dashboard has data, every alert can
be evaluated, and the counters agree with the books although a runner is lost in the middle."""

import asyncio
import hashlib
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from quire.config.settings import Settings
from quire.engines.scripted_engine import journal_counts
from quire.results.ledger import Account
from quire.run.convert import convert
from quire.run.inputs import Inputs
from tests.kills import is_running
from tests.rigs.endpoint import free_port
from tests.rigs.prometheus import Prometheus, prometheus, require_prometheus
from tests.rigs.ray_nodes import add_node, head_node
from tests.runs import read_table, scripted_settings, write_samples
from tests.waiting import wait_for, wait_in_loop

_INFRA = Path(__file__).resolve().parents[2] / "infra"
_DASHBOARD = json.loads((_INFRA / "grafana/quire.json").read_text())


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Path]]:
    """A head node and a node with CPUs, and the folder where Ray lists their metrics ports. Not below `tmp_path`, which
    is too long for a socket's name."""
    require_prometheus()
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    with (
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder,
        head_node(num_cpus=0, include_dashboard=True, dashboard_port=free_port(), temp_dir=folder) as cluster,
    ):
        add_node(cluster, num_cpus=1, temp_dir=folder)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster, Path(folder)
        ray.shutdown()


def shipped_configuration(folder: Path, ray_folder: Path) -> Path:
    """What `infra/prometheus` has, in a hurry and with Ray's files elsewhere."""
    folder.mkdir()
    for name in ("prometheus.yml", "alerts.yml"):
        text = (_INFRA / "prometheus" / name).read_text()
        text = text.replace("/tmp/ray/", f"{ray_folder}/").replace("_interval: 15s", "_interval: 1s")
        (folder / name).write_text(text.replace("evaluation_interval: 30s", "evaluation_interval: 1s"))
    return folder / "prometheus.yml"


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")
def test_a_run_on_ray_fills_the_dashboard(tmp_path: Path, cluster: tuple[Cluster, Path]) -> None:
    write_samples(tmp_path / "in", 8)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    doc_ids = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / "in").iterdir())]
    long = doc_ids[3]
    behaviours = dict.fromkeys([0, 3, 6, 9, 12, 15], "loop") | dict.fromkeys([4, 10], "truncate") | {5: "reject"}
    pages = {f"{long}:{index}": behaviour for index, behaviour in behaviours.items()}
    # Several, since shards come in an order of each run's own: a process tells nothing of what came right before it is
    # killed, nor right before the end.
    pages |= dict.fromkeys([f"{long}:18", f"{doc_ids[2]}:1", f"{doc_ids[5]}:1", f"{doc_ids[7]}:1"], "crash_once")
    settings = scripted_settings(
        tmp_path,
        "ray.num_engines=2",
        'engine.modes=["tiny", "base@0.4"]',
        pages=pages,
        window=2,
        seconds_per_page=0.6,
    )
    started = time.time()
    with prometheus(shipped_configuration(tmp_path / "infra", cluster[1]), tmp_path / "data") as server:
        account = asyncio.run(convert_and_lose_the_runner(inputs, settings, tmp_path / "journal"))
        rows = read_table(tmp_path / "out", "pages").to_pylist()

        def num_pages() -> float:
            return sum(server.values("sum(quire_pages_total)").values())

        wait_for(f"Prometheus to count {len(rows)} pages", lambda: num_pages() == len(rows), saw=num_pages)
        assert server.values("sum by (outcome) (quire_pages_total)", "outcome") == by_one(account.pages)
        assert server.values("sum by (kind) (quire_failures_total)", "kind") == by_one(account.failures)
        attempts = Counter(
            ({"tiny": "tiny", "base": "base@0.4"}[attempt["mode"]], attempt["outcome"])
            for row in rows
            for attempt in row["attempts"]
        )
        assert server.values("sum by (rung, outcome) (quire_attempts_total)", "rung", "outcome") == attempts
        tokens = {("image",): "num_image_tokens", ("output",): "num_output_tokens"}
        assert server.values("sum by (kind) (quire_tokens_total)", "kind") == {
            kind: sum(row[column] or 0 for row in rows) for kind, column in tokens.items()
        }
        assert set(server.ask("label/run/values")) == {str(tmp_path / "out")}

        def empty_panels() -> list[str]:
            queries = panel_queries(str(tmp_path / "out"))
            return [query for query in queries if not has_numbers(server.series(query, started))]

        # A rate needs two scrapes, and what the run told last has had one.
        wait_for("each panel to have numbers", lambda: not empty_panels(), saw=empty_panels)
        check_alerts(server)


async def convert_and_lose_the_runner(inputs: Inputs, settings: Settings, journal: Path) -> Account:
    running = asyncio.create_task(convert(inputs, settings, use_ray=True))

    def num_begun() -> int:
        assert not running.done(), running
        return sum(journal_counts(journal).values())

    await wait_in_loop("engines to begin eight pages", lambda: num_begun() >= 8, saw=num_begun)
    [runner] = await wait_in_loop("the runner's process", lambda: processes_that_run("ray::Runner"))
    runner.kill()
    return await running


def processes_that_run(title: str) -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if is_running(child, title)]


def check_alerts(server: Prometheus) -> None:
    """All can be evaluated, and one of them speaks up about a run like this."""
    subprocess.run(["promtool", "check", "rules", str(_INFRA / "prometheus/alerts.yml")], check=True, timeout=60)

    def states() -> dict[str, str]:
        """Of those that have been evaluated and are well."""
        return {rule["name"]: rule["state"] for rule in rules_of(server) if rule["health"] == "ok"}

    wait_for("the alert about loops", lambda: states().get("QuireLoopRate") == "pending", saw=states)
    wait_for("all alerts to be evaluated", lambda: len(states()) == len(rules_of(server)) >= 6, saw=states)


def rules_of(server: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]


def panel_queries(run: str) -> list[str]:
    """Each query of the dashboard, with its variables filled in as Grafana would."""
    queries = [target["expr"] for panel in _DASHBOARD["panels"] for target in panel["targets"]]
    return [query.replace("$run", run).replace("$__rate_interval", "5s") for query in queries]


def has_numbers(series: list[dict[str, Any]]) -> bool:
    return any(value != "NaN" for one in series for _, value in one["values"])


def by_one(counts: Counter[str]) -> dict[tuple[str], int]:
    return {(name,): number for name, number in counts.items()}
