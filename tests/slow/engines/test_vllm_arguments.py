"""From settings to vLLM's arguments: the device decides what is not set, and what is set wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quire.config.settings_file import load_settings
from quire.engines.choose import needs
from quire.engines.gpu.arguments import DEVICES, engine_arguments
from quire.engines.gpu.window import STEPS_BETWEEN_CHANGES, Window
from quire.flows.on_ray.workers import MAX_CALLS


def arguments(memory_gib: float, *overrides: str) -> dict[str, Any]:
    settings = load_settings(None, ["engine.name=vllm", *overrides])
    return engine_arguments(settings, Path("/model"), memory_gib)


@pytest.mark.parametrize(
    ("memory_gib", "max_num_seqs", "max_num_batched_tokens"),
    [(39.4, 256, 8192), (79.2, 512, 16384), (139.8, 1024, 16384), (23.6, 64, 4096)],
    ids=["A100-40G", "A100-80G and H100", "H200", "smaller"],
)
def test_the_devices_memory_decides(memory_gib: float, max_num_seqs: int, max_num_batched_tokens: int) -> None:
    found = arguments(memory_gib)
    assert (found["max_num_seqs"], found["max_num_batched_tokens"]) == (max_num_seqs, max_num_batched_tokens)
    assert 0.8 < found["gpu_memory_utilization"] < 1


def test_what_is_set_wins() -> None:
    found = arguments(79.2, "vllm.max_num_seqs=7", "vllm.memory_share=0.5", "vllm.quantization=fp8")
    assert (found["max_num_seqs"], found["gpu_memory_utilization"], found["quantization"]) == (7, 0.5, "fp8")
    assert arguments(79.2, "vllm.extra={max_num_seqs=3, seed=1}")["max_num_seqs"] == 3


def test_a_token_reaches_vllm() -> None:
    assert arguments(80, 'vllm.extra={hf_token="s3cr3t"}')["hf_token"] == "s3cr3t"


def test_a_cpu_has_no_share_of_a_gpu() -> None:
    assert "gpu_memory_utilization" not in arguments(0.0)


def test_pages_come_as_pixels_as_latents_or_both() -> None:
    pixels, both = arguments(79.2), arguments(79.2, "engine.latents=keep")
    decoder = arguments(79.2, "vllm.encoder_device=cuda:1")
    assert (pixels["limit_mm_per_prompt"], pixels["enable_mm_embeds"]) == ({"image": 1}, False)
    assert (both["limit_mm_per_prompt"], both["enable_mm_embeds"]) == ({"image": 1}, True)
    assert (decoder["limit_mm_per_prompt"], decoder["enable_mm_embeds"]) == ({"image": 0}, True)
    assert "worker_extension_cls" in both and "worker_extension_cls" not in pixels | decoder


def test_the_guard_is_loaded_unless_it_is_off() -> None:
    assert arguments(79.2)["logits_processors"] == ["quire.deepseek_vllm.guard:NgramGuard"]
    assert "logits_processors" not in arguments(79.2, "engine.ngram_size=0")


@pytest.mark.parametrize(
    ("overrides", "num_gpus"),
    [
        ([], 1),
        (["vllm.encoder_device=cuda:1"], 2),
        (["vllm.encoder_device=cpu"], 1),
        (["vllm.device=cpu"], 0),
    ],
)
def test_an_engine_asks_for_the_gpus_that_it_uses(overrides: list[str], num_gpus: int) -> None:
    assert needs(load_settings(None, ["engine.name=vllm", *overrides])).num_gpus == num_gpus


def test_an_actor_takes_more_calls_than_its_engine_wants_pages() -> None:
    for device in DEVICES:
        window = Window(device.max_num_seqs, max_bytes=1 << 50)
        for _ in range(20 * STEPS_BETWEEN_CHANGES):
            window.see_step(window.size, 0, 0.1, 0)
        assert device.max_num_seqs <= window.size < MAX_CALLS / 2
