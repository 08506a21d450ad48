"""The sections of settings on engines: which one reads the pages and how it is asked, and what is each one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le, MinLen

from quire.config.profiles import Parser
from quire.config.setting import Count, Positive, Seconds, Share, Temperature, setting


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engine reads the pages, with which model, and how a page's attempts climb.

    A profile gives every setting from `model` to `ngram_whitelist` that is not set here.
    """

    name: Literal["rapidocr", "tesseract", "vllm", "http", "scripted"] = setting(
        "rapidocr", "What reads the pages; see `quire engines`."
    )
    profile: str = setting("", "A model that Quire knows how to ask; see `quire engines`.")
    model: str = setting("", "The model as Hugging Face or the server names it, or a folder.")
    model_revision: str = setting("", "A commit; empty: what is installed, which is found out and recorded.")
    modes: Annotated[tuple[str, ...], MinLen(1)] = setting(
        ("page150",),
        "The ladder: a page that loops or is cut off at one rung is tried again at the next. A rung is a mode, or "
        '"mode@temperature" for another temperature than `temperature`.',
    )
    prompt: str = setting("", "What the model is asked.")
    parser: Parser = setting("grounding", "What a completion is written in.")
    temperature: Temperature = setting(0.0, "Of sampling; 0: the likeliest token always.")
    top_p: Annotated[float, Gt(0), Le(1)] = setting(
        1.0, "Of sampling: the likeliest tokens that make up this share."
    )
    max_output_tokens: Positive = setting(8192, "Where one attempt is cut off.")
    ngram_size: Count = setting(
        0, "The repetition guard refuses n-grams of this length a second time; 0: no guard."
    )
    ngram_window: Count = setting(0, "How many tokens the repetition guard looks back.")
    ngram_whitelist: tuple[int, ...] = setting((), "Token ids that may end a repeated n-gram.")
    page_cpu_s: Seconds = setting(
        300.0, "CPU time of one attempt of an engine that computes here, a page at a time."
    )
    stuck_after_s: Seconds = setting(1800.0, "An engine that leaves an attempt unanswered so long is ended.")
    start_timeout_s: Seconds = setting(
        1800.0, "An engine that is not ready in that time is ended; a server is waited for so long."
    )
    latents: Literal["off", "keep", "reuse"] = setting(
        "off",
        "What DeepSeek-OCR's encoder makes of pages: keep stores it; reuse looks there first, and stores the rest.",
    )
    latents_uri: str = setting("", 'Where latents are; empty: "latents" in the output folder.')
    max_restarts_per_hour: Positive = setting(20, "An engine that needs more is given up.")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """A server that speaks OpenAI's protocol, like `vllm serve`. The key is no setting: it is read from the
    environment variable that `api_key_variable` names (on a cluster, that of each node with an engine), and is written
    nowhere."""

    url: str = setting("http://127.0.0.1:8000/v1", "The server.")
    window: Positive = setting(64, "Pages asked for at the same time.")
    connect_timeout_s: Seconds = setting(10.0, "How long reaching the server may take.")
    read_timeout_s: Seconds = setting(600.0, "An answer comes whole, so this is the time of a whole page.")
    max_retries: Count = setting(5, "Of an answer 408, 409, 429 or 5xx, or none at all.")
    image_format: Literal["png", "jpeg"] = setting("png", "How pages are sent; jpeg is smaller and loses detail.")
    api_key_variable: str = setting("OPENAI_API_KEY", "The environment variable that holds the server's key.")


@dataclass(frozen=True, slots=True)
class RapidOcrSettings:
    """RapidOCR, on CPUs."""

    backend: Literal["onnxruntime", "openvino"] = setting("onnxruntime", "What computes.")
    num_processes: int = setting(0, "Processes that read; 0: one per core.")


@dataclass(frozen=True, slots=True)
class TesseractSettings:
    """Tesseract, on CPUs."""

    languages: str = setting(
        "eng", 'What Tesseract calls them, like "eng+deu"; `tesseract --list-langs` lists them.'
    )
    num_processes: int = setting(0, "Processes that read; 0: one per core.")


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """How vLLM runs. What is 0 or empty follows from the device."""

    device: Literal["cuda", "cpu"] = setting("cuda", "What the installed vLLM is built for.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = setting("auto", "auto: the checkpoint's own.")
    quantization: str = setting("", 'Of the weights, by vLLM\'s name for it ("fp8").')
    kv_cache_dtype: str = setting("auto", "Of the cache of keys and values, by vLLM's name for it.")
    hf_overrides: Mapping[str, Any] = setting({}, "Changes to the checkpoint's config.json.")
    max_model_len: int = setting(0, "Tokens of a page and its text; 0: what the checkpoint says.")
    max_num_seqs: int = setting(0, "Pages decoded at once.")
    max_num_batched_tokens: int = setting(0, "Tokens of one step.")
    memory_share: Share = setting(0.0, "Of the device's memory.")
    enforce_eager: bool = setting(False, "No CUDA graphs: starts sooner, runs slower.")
    encoder_device: str = setting(
        "", '"cuda:1" or "cpu": the vision tower outside of vLLM, which then only decodes.'
    )
    megabytes_in_flight: Positive = setting(8192, "Of pixels inside the engine; bounds its window.")
    stuck_after_s: Seconds = setting(300.0, "An engine with work that takes no step for so long is ended.")
    extra: Mapping[str, Any] = setting({}, "vLLM's own engine arguments, which win over ours.")


@dataclass(frozen=True, slots=True)
class ScriptedSettings:
    """The scripted engine, which reads nothing: it makes words up, for tests and benchmarks. The shares draw pages by a
    hash of their identity."""

    window: Positive = setting(16, "Pages asked for at the same time.")
    seconds_per_page: float = setting(0.0, "What a page takes.")
    tail_share: Share = setting(0.0, "Of pages that take tail_factor times as long.")
    tail_factor: float = setting(20.0, "See tail_share.")
    loop_share: Share = setting(0.0, "Of pages that loop.")
    truncate_share: Share = setting(0.0, "Of pages that are cut off.")
    reject_share: Share = setting(0.0, "Of pages that are refused.")
    crash_share: Share = setting(0.0, "Of pages at which the engine dies.")
    num_words: int = setting(60, "Made up for a page.")
    journal: str = setting("", "A file to which each call appends a line when it begins.")
    trace: str = setting("", "A file to which each call appends its times when it ends.")
    pages: Mapping[str, str] = setting({}, 'From "<start of doc_id>:<page_index>" to a behaviour.')
