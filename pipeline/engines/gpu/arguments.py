"""From settings to vLLM's engine arguments and environment, with defaults that suit the device, as data.

Imports neither vLLM nor the device's driver: the caller says how much memory there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire.config.engines import VllmSettings
from quire.config.settings import Settings
from quire.deepseek_vllm.guard_proof import GUARD
from quire.deepseek_vllm.worker import EXTENSION

STREAM_INTERVAL = 32
"""Tokens between two outputs of a request. A loop is seen at most that many tokens late; more outputs would cost more
Python time."""


@dataclass(frozen=True, slots=True)
class Device:
    """What suits devices with at least `memory_gib`. Calculated, not measured: a page of DeepSeek-OCR holds some 2,000
    tokens of 61,440 bytes each when it ends, half of that on average, and the weights 6.7 GB."""

    memory_gib: int
    max_num_seqs: int
    max_num_batched_tokens: int
    memory_share: float


DEVICES = (
    Device(120, 1024, 16384, 0.92),  # H200
    Device(70, 512, 16384, 0.92),  # A100-80G, H100
    Device(35, 256, 8192, 0.92),  # A100-40G
    Device(0, 64, 4096, 0.90),
)
CPU = Device(0, 16, 4096, 0.0)
_CPU_CACHE_BYTES = 1 << 30

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads, and perhaps a CUDA context
    "VLLM_LOGGING_LEVEL": "WARNING",
}
"""The environment of vLLM's processes, unless it is set already. vLLM reads it when it is imported."""


def suited_device(memory_gib: float) -> Device:
    """The defaults for a GPU; 0 GiB stands for none, a CPU."""
    if not memory_gib:
        return CPU
    return next(device for device in DEVICES if memory_gib >= device.memory_gib)


def max_num_seqs(settings: VllmSettings, memory_gib: float) -> int:
    return settings.max_num_seqs or suited_device(memory_gib).max_num_seqs


def engine_arguments(settings: Settings, checkpoint: Path, memory_gib: float) -> dict[str, Any]:
    """What `AsyncEngineArgs` takes, for our model."""
    vllm, device = settings.vllm, suited_device(memory_gib)
    arguments: dict[str, Any] = {
        "model": str(checkpoint),
        "dtype": vllm.dtype,
        "kv_cache_dtype": vllm.kv_cache_dtype,
        "enforce_eager": vllm.enforce_eager,
        "max_num_seqs": max_num_seqs(vllm, memory_gib),
        "max_num_batched_tokens": vllm.max_num_batched_tokens or device.max_num_batched_tokens,
        "stream_interval": STREAM_INTERVAL,
        "enable_prefix_caching": False,  # no two pages begin alike
        "mm_processor_cache_gb": 0,
        "disable_log_stats": True,  # the window's own gauges are read all the same
        **_pages(settings),
        **_memory(vllm, device),
    }
    if settings.engine.ngram_size:
        arguments["logits_processors"] = [GUARD]
    if vllm.quantization:
        arguments["quantization"] = vllm.quantization
    if vllm.max_model_len:
        arguments["max_model_len"] = vllm.max_model_len
    if vllm.hf_overrides:
        arguments["hf_overrides"] = dict(vllm.hf_overrides)
    return {**arguments, **vllm.extra}


def _pages(settings: Settings) -> Mapping[str, Any]:
    """How pages come in: as pixels, as latents, or both. Without an encoder its weights are not loaded."""
    is_split = bool(settings.vllm.encoder_device)
    takes_latents = is_split or settings.engine.latents != "off"
    return {
        "limit_mm_per_prompt": {"image": 0 if is_split else 1},
        "enable_mm_embeds": takes_latents,
        **({"worker_extension_cls": EXTENSION} if takes_latents and not is_split else {}),
    }


def _memory(vllm: VllmSettings, device: Device) -> Mapping[str, Any]:
    if device is CPU:
        return {"kv_cache_memory_bytes": _CPU_CACHE_BYTES}
    return {"gpu_memory_utilization": vllm.memory_share or device.memory_share}
