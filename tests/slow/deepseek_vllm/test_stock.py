"""Our model class says what vLLM's own says, token by token, with the vision tower at full size.

vLLM's own class needs torchvision, which has no build for PyTorch's CPU build: `make stock` installs it apart, and
runs this alone. It takes minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from quire.deepseek_vllm.sizes import SIZES
from quire.jobs.bench.checkpoint import write_checkpoint
from tests.rigs.model_class import NUM_TOKENS


@pytest.mark.stock
@pytest.mark.timeout(1500)
def test_gundam_pages_get_the_tokens_that_stock_gives(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "tower", SIZES["tower"])
    said = {}
    for side in ("stock", "ours"):
        output = tmp_path / f"{side}.json"
        command = [sys.executable, "-m", "tests.rigs.model_class", side, str(checkpoint), str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=700)
        assert done.returncode == 0, done.stderr[-3000:]
        said[side] = json.loads(output.read_text())
    for (stock_tokens, stock_logprob), (tokens, logprob) in zip(said["stock"], said["ours"], strict=True):
        assert tokens == stock_tokens
        assert logprob == pytest.approx(stock_logprob, abs=1e-2)
    first, second = (tokens for tokens, _ in said["ours"])
    assert len(first) == NUM_TOKENS and first != second
