"""Whether this process can reach an NVIDIA GPU. The driver itself is asked: no library has to be imported, which takes
seconds, and CUDA_VISIBLE_DEVICES counts."""

from __future__ import annotations

import ctypes

from quire.config.engines import EngineSections

_DRIVER = "libcuda.so.1"


def has_gpu() -> bool:
    """False where there is no driver, or it reaches no GPU."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    number = ctypes.c_int(0)
    is_asked = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(number)) == 0
    return is_asked and number.value > 0


def lacks(settings: EngineSections) -> str:
    """What vLLM needs besides its package and lacks on this machine, and how to get it; empty if it can run."""
    if settings.vllm.device == "cpu" or has_gpu():
        return ""
    return (
        "a GPU, and none is to be reached here (`quire doctor --engine vllm` says why); a CPU build of vLLM wants "
        "--set vllm.device=cpu"
    )
