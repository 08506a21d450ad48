"""A small random DeepSeek-OCR checkpoint, and how to run the real vLLM on it on a CPU.

Be within `vllm_environment` before vLLM is imported. It does not know pytest.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from quire.deepseek_vllm.sizes import SIZES
from quire.jobs.bench.checkpoint import write_checkpoint

LOOPING_LETTER = "Q"


def small_model(directory: Path, *, loops: bool = False) -> Path:
    """Write the checkpoint into a folder below the directory, once; returns the folder."""
    path = directory / ("loops" if loops else "small")
    return path if path.exists() else write_checkpoint(path, SIZES["small"], loops=loops)


def with_looping_letter(checkpoint: Path, directory: Path) -> Path:
    """A copy that reads pages as the checkpoint does, and goes on with one letter for ever where a prompt ends with it:
    its embedding drowns what the layers add to it, and its logit is large where the last token is that letter."""
    shutil.copytree(checkpoint, directory)
    file = directory / "model-00001.safetensors"
    weights = load_file(file)
    token = Tokenizer.from_file(str(directory / "tokenizer.json")).token_to_id(LOOPING_LETTER)
    embedding = weights["model.embed_tokens.weight"][token]
    weights["lm_head.weight"][token] = 3 * embedding / embedding.norm()
    embedding *= 50
    save_file(weights, file, {"format": "pt"})
    return directory


def engine_arguments(model: Path, **others: Any) -> dict[str, Any]:
    """What `vllm.LLM` and `AsyncEngineArgs` take: the least that runs, and float32, since bfloat16 on a CPU
    gives other tokens with another number of threads or another batch."""
    return {
        "model": str(model),
        "dtype": "float32",
        "max_model_len": 2048,
        "max_num_seqs": 16,
        "max_num_batched_tokens": 4096,
        "kv_cache_memory_bytes": 64 << 20,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "enable_mm_embeds": True,
        "limit_mm_per_prompt": {"image": 1},
        "mm_processor_cache_gb": 0,
        "disable_log_stats": True,
        **others,
    }


@contextmanager
def without_flask() -> Iterator[None]:
    """Start an engine in this process within this. vLLM looks at every value of every loaded module, and Flask's
    proxies, which moto brings along, raise when looked at outside of a request."""
    hidden = {
        name: module
        for name, module in sys.modules.items()
        if any(type(value).__module__ == "werkzeug.local" for value in getattr(module, "__dict__", {}).values())
    }
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(hidden)
