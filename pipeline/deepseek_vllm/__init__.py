"""Our DeepSeek-OCR inside vLLM: a mode per page, pixels as uint8, views batched across pages, latents in and out.

`register` is the entry point `vllm.general_plugins`, which vLLM calls in each of its processes. It puts our class
in the place of vLLM's own, so that published checkpoints load unedited. Nothing here imports vLLM before that.
"""

from __future__ import annotations

ARCHITECTURE = "DeepseekOCRForCausalLM"
"""What the published checkpoint's `config.json` calls its class."""


def register() -> None:
    from vllm import ModelRegistry

    ModelRegistry.register_model(ARCHITECTURE, "quire.deepseek_vllm.model:DeepseekOcr")
