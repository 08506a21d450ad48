"""`make soak`: what is merely many, for as long as there is time: kills, nights, storms, pages, modules and orders.

    python -m tests.soak --minutes 60 --seed 0 [--only KIND]

A round is one kind with one seed. The kinds take turns, with the seed, then with the next one, until the minutes are
up; a round that has begun is finished. With no minutes each kind has one round. All that chance decides follows from
the seed, so a round that failed can be had again; the times of kills vary with the machine nonetheless. The one table
at the end says how. Stores and clusters are started when a kind first wants them.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import io
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from unittest import mock

from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.run.convert import convert
from quire.run.inputs import Inputs
from tests.conftest import TestBucket
from tests.corpus import CORPUS, READ_WHOLE, read_and_check
from tests.kills import WINDOW, KillPoint, KillRig, ray_cluster
from tests.night_by_night import LivingBucket, LocalBucket, Nights, S3Bucket, go_through
from tests.rigs.endpoint import Endpoint
from tests.rigs.fault_proxy import FaultRates, fault_proxy
from tests.rigs.holding_proxy import Hold
from tests.rigs.moto_server import moto_server
from tests.rigs.radosgw import missing_programs, radosgw
from tests.runs import SCRIPTED, all_pages, page_keys, read_table, results, write_samples
from tests.waiting import wait_for_end

_ROOT = Path(__file__).resolve().parents[1]
_NUM_CORPUS_DOCUMENTS = 8
_NUM_SHUFFLED_FILES = 8
_PYTEST_BOUND_S = 1800.0
_ANY_SHARE_MAY_GO = "nightly.max_gone_share=1"  # as chance may have it in a small corpus
_TOLD_CHARACTERS = 2000  # of what a failed round said on the way
_STORE_MODULES = (
    "tests/planning/test_discover.py",
    "tests/storage/test_source_cache.py",
    "tests/tables/test_parquet.py",
    "tests/nights/test_nights.py",
    "tests/storage/test_storage.py",
    "tests/storage/test_s3.py",
    "tests/storage/test_faults.py",
    "tests/storage/test_faulty_store.py",
    "tests/estimate/test_record.py",
    "tests/slow/test_latents.py",
)
_HELD_KEYS = (
    "plan/part-",
    "timings/",
    "pages/",
    "documents/",
    "markdown/",
    "documents/document=",
    "documents/part-",
)


class Skipped(Exception):
    """A kind that cannot be had on this machine, with the reason."""


@dataclass
class Resources:
    """What rounds share, started when first asked for and ended by `close`."""

    directory: Path
    _running: ExitStack = field(default_factory=ExitStack)
    _num_folders: int = 0

    def close(self) -> None:
        self._running.close()

    def new_folder(self) -> Path:
        """An empty folder, which no other round has."""
        self._num_folders += 1
        folder = self.directory / f"round{self._num_folders}"
        folder.mkdir()
        return folder

    @cached_property
    def local(self) -> KillRig:
        rig = KillRig(self.directory / "kills")
        rig.prepare()
        return rig

    @cached_property
    def on_ray(self) -> KillRig:
        variables, raylet = self._running.enter_context(ray_cluster())
        return replace(self.local, variables=variables, ray_pid=raylet)

    @cached_property
    def moto(self) -> Endpoint:
        return self._running.enter_context(moto_server())

    @cached_property
    def stores(self) -> tuple[Endpoint, ...]:
        """Moto, and a real store where its programs are there."""
        if missing_programs():
            return (self.moto,)
        return self.moto, self._running.enter_context(radosgw(self.directory / "radosgw")).endpoint


Kind = Callable[[Resources, int], None]


@dataclass(frozen=True, slots=True)
class Round:
    """`outcome` is "ok", "failed" or "skipped"; `detail` says why it is not ok."""

    kind: str
    seed: int
    outcome: str
    seconds: float
    detail: str = ""

    def __str__(self) -> str:
        line = f"{self.kind:{_NAME_WIDTH}}  seed {self.seed}  {self.outcome}  {self.seconds:.0f} s"
        return f"{line}\n{self.detail}" if self.detail else line


def kills(resources: Resources, seed: int) -> None:
    _kill(resources.local, f"local{seed}", seed, ("driver", "rasterizer"))


def kills_on_ray(resources: Resources, seed: int) -> None:
    _kill(resources.on_ray, f"ray{seed}", seed, ("driver", "engine", "rasterizer", "runner"))


def kills_in_a_bucket(resources: Resources, seed: int) -> None:
    endpoint = resources.stores[seed % len(resources.stores)]
    with _new_bucket(endpoint) as bucket:
        rig = replace(resources.local, storage=bucket.settings, base_uri=bucket.uri)
        _kill(rig, f"bucket{seed}", seed, ("driver", "rasterizer"))


def held_puts(resources: Resources, seed: int) -> None:
    """The driver killed while a file, any file, is on its way into the store, or halfway there."""
    chance = random.Random(seed)
    hold = Hold(f"PUT .*/{chance.choice(_HELD_KEYS)}", passes_half=chance.random() < 0.5)
    with _new_bucket(resources.moto) as bucket:
        rig = replace(resources.local, storage=bucket.settings, base_uri=bucket.uri)
        rig.kill_while_held(f"held{seed}", hold, bucket.endpoint.port)
        rig.go_on(f"held{seed}")


def nights_over_a_folder(resources: Resources, seed: int) -> None:
    folder = resources.new_folder()
    living = LivingBucket(LocalBucket(folder / "in"), random.Random(seed))
    nights = Nights.of(living, str(folder / "out"), folder, _ANY_SHARE_MAY_GO)
    asyncio.run(go_through(nights, num_nights=30, num_killed=5))


def nights_over_a_bucket(resources: Resources, seed: int) -> None:
    with _new_bucket(resources.moto) as bucket:
        living = LivingBucket(S3Bucket(bucket.client, bucket.name), random.Random(seed))
        endpoint = f"storage.endpoint_url={bucket.settings.endpoint_url}"
        nights = Nights.of(living, f"{bucket.uri}/out", resources.new_folder(), endpoint, _ANY_SHARE_MAY_GO)
        asyncio.run(go_through(nights, num_nights=10, num_killed=3))


def storms(resources: Resources, seed: int) -> None:
    """A run from a bucket into it, with faults of every kind between, and a calm one beside it."""
    chance = random.Random(seed)
    rates = FaultRates(**{rate.name: chance.uniform(0, 0.08) for rate in fields(FaultRates)})
    folder = resources.new_folder()
    with _new_bucket(resources.moto) as bucket:
        pages = write_samples(folder / "in")
        for name in pages:
            bucket.put(f"in/{name}", (folder / "in" / name).read_bytes())
        _convert_bucket(bucket, "calm", _settings(bucket.endpoint.url, folder / "calm"))
        with fault_proxy(bucket.endpoint.port, rates, seed) as proxy:
            _convert_bucket(bucket, "stormy", _settings(proxy.url, folder / "stormy"))
        assert proxy.counts.total() > proxy.counts["passed"], f"no storm with {rates}"
        assert results(bucket.folder("stormy")) == results(bucket.folder("calm")), rates
        assert page_keys(read_table(bucket.folder("stormy"), "pages")) == all_pages(pages), rates


def corpus_pages(resources: Resources, seed: int) -> None:
    if not CORPUS.is_dir():
        raise Skipped(f"there is no corpus at {CORPUS}")
    names = random.Random(seed).sample(sorted(READ_WHOLE), _NUM_CORPUS_DOCUMENTS)
    read_and_check(names, resources.new_folder())


def modules_on_radosgw(resources: Resources, seed: int) -> None:
    """The modules that know a store, all of them on a real one. No seed changes them."""
    if missing := missing_programs():
        raise Skipped(f"no radosgw here, lacking {', '.join(missing)}")
    _pytest("--store=radosgw", *_STORE_MODULES)


def marked_soak(resources: Resources, seed: int) -> None:
    """What `make test` leaves out: the bench with the real vLLM, the encoder at another size, the longest document,
    some kills, losses on Ray, a quarter turn. No seed changes them."""
    _pytest("-m", "soak")


def shuffled(resources: Resources, seed: int) -> None:
    """Some quick test files, drawn from all, in an order drawn too."""
    assert importlib.util.find_spec("random_order"), "pytest-random-order is not installed"
    slow = _ROOT / "tests" / "slow"
    quick = sorted(path for path in (_ROOT / "tests").rglob("test_*.py") if slow not in path.parents)
    drawn = random.Random(seed).sample(quick, _NUM_SHUFFLED_FILES)
    files = [str(path.relative_to(_ROOT)) for path in drawn]
    _pytest("--random-order", f"--random-order-seed={seed}", *files)


KINDS: Mapping[str, Kind] = {
    "kills": kills,
    "kills on Ray": kills_on_ray,
    "kills in a bucket": kills_in_a_bucket,
    "held PUTs": held_puts,
    "nights over a folder": nights_over_a_folder,
    "nights over a bucket": nights_over_a_bucket,
    "storms": storms,
    "pages": corpus_pages,
    "modules on radosgw": modules_on_radosgw,
    "marked soak": marked_soak,
    "shuffled": shuffled,
}
_NAME_WIDTH = max(map(len, KINDS))


def rounds(kinds: Sequence[str], seed: int, minutes: float) -> Iterator[tuple[str, int]]:
    """Which kind with which seed, one after the other, as long as there is time."""
    end = time.monotonic() + 60 * minutes
    for lap in itertools.count():
        for kind in kinds:
            if time.monotonic() >= end if minutes else lap:
                return
            yield kind, seed + lap


def soak(kinds: Mapping[str, Kind], resources: Resources, seed: int, minutes: float) -> list[Round]:
    """Go through the rounds, tell each as it ends, and return all that were done by the end, or by Ctrl-C."""
    done: list[Round] = []
    try:
        for kind, round_seed in rounds(list(kinds), seed, minutes):
            done.append(_round(kind, kinds[kind], resources, round_seed))
            print(done[-1], flush=True)
    except KeyboardInterrupt:
        print("interrupted: the round that was going on is not in the table", flush=True)
    return done


def table(done: Sequence[Round]) -> str:
    """One line a kind, and below it the command that repeats each round that failed."""
    lines = [f"{'kind':{_NAME_WIDTH}}  rounds  failed  median s"]
    for kind in dict.fromkeys(each.kind for each in done):
        own = [each for each in done if each.kind == kind]
        failed = [each for each in own if each.outcome == "failed"]
        median = statistics.median(each.seconds for each in own)
        skipped = next((f"  skipped: {each.detail}" for each in own if each.outcome == "skipped"), "")
        lines.append(f"{kind:{_NAME_WIDTH}}  {len(own):6}  {len(failed):6}  {median:8.1f}{skipped}")
        lines += [f'    seed {each.seed}: make soak ONLY="{kind}" SEED={each.seed} MINUTES=0' for each in failed]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS), metavar="KIND", help=f"one of: {', '.join(KINDS)}")
    arguments = parser.parse_args()
    kinds = {arguments.only: KINDS[arguments.only]} if arguments.only else KINDS
    print(f"soak: {arguments.minutes:g} minutes from seed {arguments.seed}: {', '.join(kinds)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        resources = Resources(Path(directory))
        try:
            done = soak(kinds, resources, arguments.seed, arguments.minutes)
        finally:
            resources.close()
    print(f"\n{table(done)}")
    sys.exit(any(each.outcome == "failed" for each in done))


def _round(kind: str, run: Kind, resources: Resources, seed: int) -> Round:
    started = time.monotonic()
    outcome, detail, told = "ok", "", io.StringIO()
    try:
        with redirect_stderr(told):
            run(resources, seed)
    except Skipped as reason:
        outcome, detail = "skipped", str(reason)
    except Exception:  # the rounds after it are to be had, whatever went wrong in this one
        outcome, detail = "failed", f"{told.getvalue()[-_TOLD_CHARACTERS:]}{traceback.format_exc()}"
    return Round(kind, seed, outcome, time.monotonic() - started, detail)


def _kill(rig: KillRig, name: str, seed: int, victims: tuple[str, ...]) -> None:
    point = KillPoint.draw(seed, victims, rig.num_calls)
    report = rig.kill_and_go_on(name, point)
    if not report.was_killed:
        raise Skipped(f"over before the kill at {point}")
    bounds = {"driver": rig.num_calls, "engine": WINDOW, "rasterizer": 0}
    assert report.recomputed <= bounds.get(point.victim, rig.num_calls), (point, report)


@contextmanager
def _new_bucket(endpoint: Endpoint) -> Iterator[TestBucket]:
    """An empty bucket; the AWS variables lead to its store, and to no other, until the end."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, {**others, **endpoint.environment()}, clear=True):
        name = f"soak-{uuid.uuid4().hex[:16]}"
        client = endpoint.client()
        client.create_bucket(Bucket=name)
        yield TestBucket(name, endpoint, StorageSettings(endpoint_url=endpoint.url), client)


def _settings(endpoint_url: str, cache: Path) -> Settings:
    return load_settings(None, [*SCRIPTED, f"storage.endpoint_url={endpoint_url}", f"flow.cache_dir={cache}"])


def _convert_bucket(bucket: TestBucket, output: str, settings: Settings) -> None:
    inputs = Inputs((f"{bucket.uri}/in",), (), f"{bucket.uri}/{output}")
    asyncio.run(convert(inputs, settings, use_ray=False))


def _pytest(*arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    with subprocess.Popen(command, cwd=_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        try:
            output, errors = wait_for_end(ran, _PYTEST_BOUND_S)
        finally:
            ran.kill()
    assert ran.returncode == 0, f"{' '.join(command)}\n{(output or '')[-6000:]}\n{(errors or '')[-2000:]}"


if __name__ == "__main__":
    main()
