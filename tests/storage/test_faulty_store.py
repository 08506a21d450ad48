"""A store that answers 503 in bursts, drops connections, cuts bodies and loses answers: the same results."""

import asyncio
from pathlib import Path

import pytest

from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import open_folder
from tests.conftest import TestBucket
from tests.rigs.fault_proxy import FaultRates, fault_proxy
from tests.runs import SCRIPTED, all_pages, page_keys, read_table, results, write_samples

pytestmark = pytest.mark.timeout(300)

RUN = (*SCRIPTED, 'engine.modes=["tiny"]')
STORM = FaultRates(slow_down=0.05, reset=0.05, cut_body=0.05, lost_answer=0.1)  # soak draws others


def upload(bucket: TestBucket, folder: Path) -> dict[str, int]:
    pages = write_samples(folder)
    for name in pages:
        bucket.put(f"in/{name}", (folder / name).read_bytes())
    return pages


def settings_for(bucket: TestBucket, tmp_path: Path, endpoint: str | None = None) -> Settings:
    return load_settings(
        None,
        [
            *RUN,
            f"storage.endpoint_url={endpoint or bucket.settings.endpoint_url}",
            f"flow.cache_dir={tmp_path / 'cache'}",
        ],
    )


def test_a_stormy_store_gives_the_same_results(s3: TestBucket, tmp_path: Path) -> None:
    pages = upload(s3, tmp_path / "in")
    calm = Inputs((f"{s3.uri}/in",), (), f"{s3.uri}/calm")
    stormy = Inputs((f"{s3.uri}/in",), (), f"{s3.uri}/stormy")
    asyncio.run(convert(calm, settings_for(s3, tmp_path / "a"), use_ray=False))
    with fault_proxy(s3.endpoint.port, STORM, seed=7) as proxy:
        asyncio.run(convert(stormy, settings_for(s3, tmp_path / "b", proxy.url), use_ray=False))
        faults = {name: number for name, number in proxy.counts.items() if name != "passed"}
    assert sum(faults.values()) >= 3, "there was a storm"
    expected, got = results(s3.folder("calm")), results(s3.folder("stormy"))
    assert got == expected
    assert page_keys(read_table(s3.folder("stormy"), "pages")) == all_pages(pages)


async def test_a_run_may_read_one_store_and_write_here(s3: TestBucket, tmp_path: Path) -> None:
    upload(s3, tmp_path / "in")
    inputs = Inputs((f"{s3.uri}/in/doc0*.pdf",), (), str(tmp_path / "out"))
    account = await convert(inputs, settings_for(s3, tmp_path), use_ray=False)
    assert account.documents["ok"] == 10
    assert open_folder(inputs.output, s3.settings).exists("markdown/doc07.pdf.md")
