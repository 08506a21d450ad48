"""The variables with which the real vLLM runs on a CPU, several side by side.

vLLM reads most of them when it is imported. It does not know vLLM, PyTorch or pytest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # several engines share this machine's cores
    "TORCHDYNAMO_DISABLE": "1",
    "OMP_NUM_THREADS": "1",
    # `AsyncLLM` has its one worker in the engine's process, as on a GPU, and `vllm.LLM` its engine in this one: both
    # start in half the time.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


@contextmanager
def vllm_environment() -> Iterator[None]:
    """What this process and its children need to run vLLM side by side. What vLLM itself sets in here, such as the
    names of its shared memory, is gone afterwards: later children must not share them."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
