"""`quire report`, without thumbnails: where it writes, and what it says when it cannot. Thumbnails: `tests/report/`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from quire.config.settings import Settings
from quire.jobs.report import KEY, write_report
from tests.conftest import TestBucket
from tests.report.runs import GIVEN_UP, READ, write_run
from tests.runs import quire
from tests.waiting import BOUND_S


async def test_it_is_written_into_the_output_folder_and_again_when_the_run_has_gone_on(tmp_path: Path) -> None:
    for num_shards, words in ((1, "Not finished."), (2, "Finished.")):
        await write_run(tmp_path, [READ, GIVEN_UP] * 8, num_shards=num_shards)
        assert write_report(str(tmp_path), Settings(), (), with_thumbnails=False) == f"{tmp_path}/{KEY}"
        html = (tmp_path / KEY).read_text()
        assert f"<b>{words}</b>" in html
        assert "<img" not in html and html.endswith("</html>\n")


async def test_a_run_in_a_bucket(moto_bucket: TestBucket) -> None:
    folder, settings = moto_bucket.folder("run"), Settings(storage=moto_bucket.settings)
    await write_run(folder, [READ] * 4)
    assert write_report(folder.uri, settings, (), with_thumbnails=False) == f"{moto_bucket.uri}/run/{KEY}"
    assert b"4 planned = 4 read" in folder.get(KEY)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    done = quire("report", str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path} is no output folder of Quire" in done.stderr
    assert not (tmp_path / "report").exists()


def test_what_to_install_is_said(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['matplotlib'] = None; from quire.jobs.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "report", str(tmp_path)], capture_output=True, text=True, timeout=BOUND_S
    )
    assert done.returncode == 1
    assert "pip install 'quire-ocr[report]'" in done.stderr and "Traceback" not in done.stderr
