"""Engines as data: what Quire knows of each kind of engine before one is chosen, and its settings.

`KINDS` is the only list of them. A new engine is a module of its own, a record in `KINDS` and, if it has settings, a
section in `EngineSections`: see `examples/toy_engine`. Nothing here imports an engine or starts one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from quire.config.extras import CPU, GPU, HTTP, OPENVINO, Extra
from quire.config.setting import Count, Positive, Seconds, Share, setting
from quire.errors import ConfigError
from quire.processes.cores import num_cores

PAGES_PER_SHARD = 256


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


@dataclass(frozen=True, slots=True)
class EngineSections:
    """The sections of single engines, each under its engine's name. `Settings` inherits them."""

    rapidocr: RapidOcrSettings = RapidOcrSettings()
    tesseract: TesseractSettings = TesseractSettings()
    vllm: VllmSettings = VllmSettings()
    http: HttpSettings = HttpSettings()
    scripted: ScriptedSettings = ScriptedSettings()


@dataclass(frozen=True, slots=True)
class EngineNeeds:
    """What one engine, and one rasterizer beside it, reserve on a cluster.

    These numbers decide how many rasterizers run at once. More rasterizers than CPUs would cost more than they gain: a
    cluster ends idle processes beyond one a CPU, and a new start takes a second of CPU time.
    """

    num_gpus: float
    num_cpus: float
    rasterizer_cpus: float
    shares_cpus: bool = False  # it computes on the CPUs that also rasterize


_ONE_OF_THE_CORES = EngineNeeds(num_gpus=0, num_cpus=0.75, rasterizer_cpus=0.25, shares_cpus=True)
"""The needs of an engine on a CPU: it leaves a quarter of its core for rendering."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One kind of engine. What depends on its settings is a function of them.

    `starts` names a coroutine function, as "module:function". It makes an engine from the settings and the number of
    its processes, and returns when the engine is ready. The module is imported only when the engine is chosen.
    """

    name: str
    description: str  # one line, for `quire engines`
    starts: str
    is_for_tests: bool = False  # not offered to people
    extra: Callable[[EngineSections], Extra | None] = lambda settings: None  # the extra that must be installed
    lacks: str = ""
    """A function of the settings, as "module:function". It says what else is missing on this machine, and how to get
    it. Empty: nothing else is needed."""
    needs: Callable[[EngineSections], EngineNeeds] = lambda settings: _ONE_OF_THE_CORES
    """What one engine reserves on a cluster."""
    num_processes: Callable[[EngineSections], int] = lambda settings: 1
    """Cores that it computes on, if it does not run on a cluster."""
    result_keys: tuple[str, ...] = ()  # of its section: the settings that change results
    pages_per_shard: int = PAGES_PER_SHARD
    """Used if `plan.pages_per_shard` is not set. A kill loses the shards under way, which should be only minutes of
    work. A page takes some 2 to 25 seconds on a core, perhaps ten on an unknown server, less than one on a GPU."""
    core_seconds_per_page: float | None = None
    """For a full page of text on one server core. Rough, see `jobs/bench/cpu.py`; None if unknown."""
    scripted_s: Callable[[EngineSections], float] | None = None
    """Seconds a page, for an engine whose speed is a setting (for tests)."""
    model_name: Callable[[EngineSections], str] = lambda settings: ""
    """The model in the rows of a run; not used if `[engine]` names the model."""
    default_profile: str = ""  # in `profiles.py`, if `[engine]` names the model; empty: it takes no profile
    is_server: bool = False  # the model runs elsewhere, which counts as one GPU
    counts_tokens: bool = False

    @property
    def has_model(self) -> bool:
        """Whether `[engine]` says which model it uses, and how to prompt it."""
        return bool(self.default_profile)


def _vllm_needs(settings: EngineSections) -> EngineNeeds:
    if settings.vllm.device == "cpu":
        return _ONE_OF_THE_CORES
    num_gpus = 2 if settings.vllm.encoder_device.startswith("cuda") else 1
    return EngineNeeds(num_gpus=num_gpus, num_cpus=1, rasterizer_cpus=0.9)


def _scripted_s(settings: EngineSections) -> float:
    scripted = settings.scripted
    return scripted.seconds_per_page * (1 + scripted.tail_share * (scripted.tail_factor - 1)) / scripted.window


KINDS = (
    EngineKind(
        "rapidocr",
        "reads on CPUs with the models of PP-OCR, which come with its package",
        starts="quire.engines.cpu.rapidocr_engine:start",
        extra=lambda settings: OPENVINO if settings.rapidocr.backend == "openvino" else CPU,
        num_processes=lambda settings: settings.rapidocr.num_processes or num_cores(),
        result_keys=("backend",),
        pages_per_shard=16,
        core_seconds_per_page=4.0,
        model_name=lambda settings: f"PP-OCRv6-small ({settings.rapidocr.backend})",
    ),
    EngineKind(
        "tesseract",
        "reads on CPUs with the program tesseract, in the languages that it has data for",
        starts="quire.engines.cpu.tesseract_engine:start",
        lacks="quire.engines.cpu.tesseract_languages:lacks",
        num_processes=lambda settings: settings.tesseract.num_processes or num_cores(),
        result_keys=("languages",),
        pages_per_shard=16,
        core_seconds_per_page=2.0,
        model_name=lambda settings: settings.tesseract.languages,
    ),
    EngineKind(
        "vllm",
        "reads with a model in vLLM on this machine's GPUs, one engine a GPU",
        starts="quire.engines.gpu.start:start",
        extra=lambda settings: GPU,
        lacks="quire.engines.gpu.device:lacks",
        needs=_vllm_needs,
        result_keys=("dtype", "quantization", "kv_cache_dtype", "hf_overrides", "max_model_len", "extra"),
        default_profile="deepseek-ocr",
        counts_tokens=True,
    ),
    EngineKind(
        "http",
        "asks a model behind a server that speaks OpenAI's protocol, such as `vllm serve`",
        starts="quire.engines.http_engine:start",
        extra=lambda settings: HTTP,
        # The images are encoded here.
        needs=lambda settings: EngineNeeds(num_gpus=0, num_cpus=0.5, rasterizer_cpus=0.5),
        result_keys=("image_format",),
        pages_per_shard=64,
        default_profile="generic",
        is_server=True,
        counts_tokens=True,
    ),
    EngineKind(
        "scripted",
        "for tests: makes words up",
        starts="quire.engines.scripted_engine:start",
        is_for_tests=True,
        needs=lambda settings: EngineNeeds(num_gpus=0, num_cpus=0.05, rasterizer_cpus=0.9),
        result_keys=("loop_share", "truncate_share", "reject_share", "crash_share", "num_words", "pages"),
        scripted_s=_scripted_s,
        counts_tokens=True,
    ),
)

OFFERED = tuple(kind.name for kind in KINDS if not kind.is_for_tests)


def kind_named(name: str) -> EngineKind:
    """Raises `ConfigError` if no kind of engine has this name."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise ConfigError(f"unknown engine {name!r}; there are: {', '.join(OFFERED)} (see `quire engines`)")
