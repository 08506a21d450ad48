"""Whether this process can reach an NVIDIA GPU, asked of the driver itself: no library need be imported, which takes
seconds, and CUDA_VISIBLE_DEVICES counts."""

from __future__ import annotations

import ctypes

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
