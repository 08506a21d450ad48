"""The vLLM engine: one model on one GPU, in a child of this process, fed with as many pages as it wants.

    page ─► latents from the cache, or made and kept ─┐
         └─► or its pixels ───────────────────────────┴─► prompt ─► vLLM ─► text, as it comes
                                                                             └─ a loop ends the request at once

Modules of their own: what a page becomes on its way in (`prompts`), what runs in vLLM's process (`process`), and how
large the window is (`window`). Does not know where pages come from or what becomes of the text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

import torch

from quire.config.profiles import PROFILES
from quire.config.sections import EngineSettings
from quire.config.settings import Settings
from quire.deepseek_vllm import ARCHITECTURE
from quire.deepseek_vllm.inputs import Prompt
from quire.deepseek_vllm.ngram_ban import NgramRule
from quire.engines.gpu.arguments import engine_arguments, max_num_seqs
from quire.engines.gpu.checkpoints import read_config
from quire.engines.gpu.loops import LoopWatch
from quire.engines.gpu.process import Sampling, VllmProcess, check_registered
from quire.engines.gpu.prompts import PagePrompts, make_prompts
from quire.engines.gpu.window import Window
from quire.errors import ConfigError, EngineAway, EngineFailure, PageRejected
from quire.records import PageImage, Recognition, Request
from quire.secrets import redacted, secret_values

_log = logging.getLogger(__name__)

_SECONDS_TO_FREE_MEMORY = 5.0


class VllmEngine:
    """Fulfils the engine contract. `start` makes one."""

    def __init__(self, settings: Settings, process: VllmProcess, window: Window, prompts: PagePrompts) -> None:
        self._engine = settings.engine
        self._process = process
        self._window = window
        self._prompts = prompts
        self._guard = _guard_arguments(settings.engine)

    @classmethod
    async def start(cls, settings: Settings, checkpoint: Path) -> VllmEngine:
        """Load the model from its folder and prove the guard. Raises `ConfigError`, `MissingDependency`,
        `GuardNotApplied`, or `EngineFailure` with what vLLM says."""
        is_ours = ARCHITECTURE in read_config(checkpoint).get("architectures", ())
        _check(settings, is_ours)
        memory_gib = device_memory_gib() if settings.vllm.device == "cuda" else 0.0
        window = Window(max_num_seqs(settings.vllm, memory_gib), settings.vllm.megabytes_in_flight << 20)
        arguments = engine_arguments(settings, checkpoint, memory_gib)
        if is_ours:
            check_registered()
        process = await _start_process(arguments, window, settings.vllm.stuck_after_s)
        try:
            if settings.engine.ngram_size:
                await process.prove_guard()
            prompts = await make_prompts(settings, checkpoint, process, is_ours)
        except BaseException:
            await process.close()
            raise
        return cls(settings, process, window, prompts)

    @property
    def window(self) -> int:
        return self._window.size

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that compute."""
        return self._process.pids

    @property
    def num_running(self) -> int:
        """Pages inside vLLM, by its own count after its last step."""
        return self._process.num_running

    @property
    def num_encoded(self) -> int:
        """Pages that the vision tower made latents of, without those that vLLM encoded as it read them."""
        return self._prompts.num_encoded

    async def recognize(
        self, page: PageImage, request: Request, let_go: Callable[[], None] = lambda: None
    ) -> Recognition:
        """Raises `EngineDead` or `PageRejected`. Cancelling it ends the request inside vLLM."""
        if self._process.is_dead:
            raise EngineAway("vLLM's process is dead")
        self._window.see_page(page.num_bytes)
        sampling = Sampling(
            temperature=request.temperature,
            top_p=self._engine.top_p,
            max_tokens=request.max_output_tokens,
            seed=int(page.sha256[:8], 16),
            extra_args=self._guard,
        )
        prompt = await self._prompts.make(page, request.prompt)
        del page  # else this variable would hold the pixels until the page is read
        return await self._read(prompt, sampling, let_go)

    async def close(self) -> None:
        await self._process.close()

    def kill(self) -> None:
        """End the processes that compute, at once."""
        self._process.kill()

    async def _read(self, prompt: Prompt, sampling: Sampling, let_go: Callable[[], None]) -> Recognition:
        texts: list[str] = []
        num_tokens, sum_logprobs = 0, 0.0
        loops = LoopWatch()
        finish_reason: str | None = None
        async with aclosing(self._process.generate(prompt, sampling)) as pieces:
            async for piece in pieces:
                if not texts:  # the first token: vLLM's process has read the pixels
                    let_go()
                texts.append(piece.text)
                num_tokens, sum_logprobs = num_tokens + len(piece.token_ids), piece.sum_logprobs
                finish_reason = piece.finish_reason
                if finish_reason is None and loops.feed(piece.text):
                    finish_reason = "loop"
                    break
        return Recognition(
            text="".join(texts),
            finish_reason=_finish_reason(finish_reason),
            num_output_tokens=num_tokens,
            mean_logprob=sum_logprobs / num_tokens if num_tokens else None,
        )


def _finish_reason(reason: str | None) -> Literal["stop", "length", "loop"]:
    """Raises `PageRejected` for an answer that vLLM broke off."""
    match reason:
        case "stop" | "length" | "loop":
            return reason
        case _:
            raise PageRejected("broken_off", f"vLLM broke the answer off: {reason}")


async def _start_process(arguments: dict[str, Any], window: Window, stuck_after_s: float) -> VllmProcess:
    """Start vLLM, twice if necessary: the memory of a predecessor that was killed is not free at once."""
    for is_last in (False, True):
        try:
            return await VllmProcess.start(arguments, window.see_step, stuck_after_s)
        except (TypeError, ValueError) as exc:  # arguments that vLLM does not have, or that contradict each other
            raise ConfigError(f"vLLM does not take its settings: {_words(exc, arguments)}") from exc
        except Exception as exc:
            if is_last:
                raise EngineFailure(
                    f"vLLM does not start ({_words(exc, arguments)}); its own words are above, or in the log"
                ) from exc
            _log.warning("vLLM did not start and is tried once more: %s", _words(exc, arguments))
            await asyncio.sleep(_SECONDS_TO_FREE_MEMORY)
    raise AssertionError("unreachable")


def _words(exc: Exception, arguments: dict[str, Any]) -> str:
    """The error's words without secrets: vLLM repeats its arguments, access tokens included."""
    return redacted(str(exc), secret_values(arguments))


def device_memory_gib() -> float:
    """Memory of the GPU that vLLM takes. Raises `ConfigError` if there is none."""
    if not torch.cuda.is_available():
        raise ConfigError(
            "no GPU is there for vLLM (see `quire doctor`); a CPU build of vLLM wants --set vllm.device=cpu"
        )
    return float(torch.cuda.get_device_properties(0).total_memory) / (1 << 30)


def _guard_arguments(engine: EngineSettings) -> dict[str, object]:
    if not engine.ngram_size:
        return {}
    return NgramRule(engine.ngram_size, engine.ngram_window, tuple(engine.ngram_whitelist)).extra_args()


def _check(settings: Settings, is_ours: bool) -> None:
    profile = PROFILES.get(settings.engine.profile)
    if profile is not None and profile.is_chat:
        raise ConfigError(
            f"{profile.name} is a chat model: run `vllm serve {settings.engine.model}` and read with --engine http"
        )
    if not is_ours and (settings.engine.latents != "off" or settings.vllm.encoder_device):
        raise ConfigError("engine.latents and vllm.encoder_device are for DeepSeek-OCR alone")
