"""Settings: small dataclasses, and the fingerprint of those that change results.

Results of different settings never mix in one output folder. Credentials and passwords are no settings, but vLLM's own
arguments may hold a secret: it is used, changes no results, and reaches no file that Quire writes. Does not know what
the settings do, nor where they are read from (`settings_file.py`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

from annotated_types import Ge, Gt, Le, MinLen

from quire.config.profiles import DEFAULT_PROFILES, Parser
from quire.processes.cage import CageMode
from quire.secrets import without_secrets

Positive = Annotated[int, Gt(0)]
Seconds = Annotated[float, Gt(0)]
Temperature = Annotated[float, Ge(0), Le(2)]
Share = Annotated[float, Ge(0), Le(1)]

RESULTS_VERSION = 1
"""Raised whenever the same pixels and settings would give other tables than before."""
PAGES_PER_SHARD = 256
_PAGES_PER_SHARD = {"rapidocr": 16, "tesseract": 16, "http": 64}


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """How object stores are reached. None means: what the AWS configuration and environment say.

    Credentials are never settings: they come from boto3's usual chain, or Google's, or Azure's. Settings of endpoints
    and buckets are S3's; `anonymous`, `etag_is_md5` and those of tries are for all.
    """

    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool = False
    path_style: bool | None = None  # None: path style for a custom endpoint, virtual-hosted for AWS
    request_payer: bool = False  # of buckets whose owner lets those who read pay
    etag_is_md5: bool = True  # of 32 hex digits, and not encrypted by KMS: what is read must have this MD5
    sse_kms_key_id: str = ""  # what is written is encrypted with this KMS key; empty: as the bucket says
    max_retries: int = 40  # with the waits between them so many that the time ends it
    retry_timeout_s: Seconds = 180.0


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How documents become shards."""

    pages_per_shard: Positive | None = None  # None: see `pages_per_shard` below
    max_document_mb: Positive = 2048  # larger documents are recorded as too_large and not fetched
    max_document_pages: Positive = 50_000  # a page tree that repeats itself can claim millions
    documents_per_part: Positive = 2000  # a part is what planning commits at once
    num_fetches: Positive = 8  # documents fetched and probed at the same time


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Rasterization: which renderer, and the limits of one page. CPU time and memory do not change results that
    come within them, so only `renderer` and `max_pixels` belong to the fingerprint. Time is CPU time and not the
    clock's, or a busy machine would fail pages that an idle one renders."""

    renderer: Literal["mupdf", "pdfium"] = "mupdf"
    max_pixels: Positive = 50_000_000  # of one view, or of one decoded source image
    page_cpu_s: Seconds = 30.0  # of one renderer at one page
    probe_cpu_s: Seconds = 60.0  # to open a document
    memory_mb: Positive = 1024  # private memory of one rendering process
    sandbox: CageMode = "best"  # "require": the whole cage or no run; "best": what the machine has of it
    num_workers: int = 0  # rendering processes; 0: one per core that may be used


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engine reads the pages, with which model, and how a page's attempts climb.

    `profile` names a model of `pipeline/config/profiles.py`: it gives every setting from `model` to
    `ngram_whitelist` that is not set here. `modes` is the ladder: a page that loops or is cut off at one rung is
    tried again at the next. A rung is a mode, or "mode@temperature" for another temperature than `temperature`.
    """

    name: Literal["rapidocr", "tesseract", "vllm", "http", "scripted"] = "rapidocr"
    profile: str = ""
    model: str = ""  # as Hugging Face or the server names it, or a folder
    model_revision: str = ""  # a commit; empty: what is installed, which is found out and recorded
    modes: Annotated[tuple[str, ...], MinLen(1)] = ("page150",)
    prompt: str = ""
    parser: Parser = "grounding"  # what a completion is written in
    temperature: Temperature = 0.0
    top_p: Annotated[float, Gt(0), Le(1)] = 1.0
    max_output_tokens: Positive = 8192
    ngram_size: Annotated[int, Ge(0)] = 0  # of the repetition guard; 0: none
    ngram_window: Annotated[int, Ge(0)] = 0
    ngram_whitelist: tuple[int, ...] = ()  # token ids that may end a repeated n-gram
    page_cpu_s: Seconds = 300.0  # CPU time of one attempt of an engine that computes here, a page at a time
    stuck_after_s: Seconds = 1800.0  # an engine that leaves an attempt unanswered so long is ended
    start_timeout_s: Seconds = 1800.0  # so is one that is not ready in that time; a server is waited for so long
    latents: Literal["off", "keep", "reuse"] = "off"  # of pages, on storage; reuse keeps what it does not find
    latents_uri: str = ""  # where; empty: "latents" in the output folder
    max_restarts_per_hour: Positive = 20  # of each engine; beyond it the engine is given up


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """A server that speaks OpenAI's protocol, like `vllm serve`. The key is no setting: it is read from the
    environment variable that `api_key_variable` names (on a cluster, that of each node with an engine), and is written
    nowhere."""

    url: str = "http://127.0.0.1:8000/v1"
    window: Positive = 64  # pages asked for at the same time
    connect_timeout_s: Seconds = 10.0
    read_timeout_s: Seconds = 600.0  # an answer comes whole, so this is the time of a whole page
    max_retries: Annotated[int, Ge(0)] = 5  # of an answer 408, 409, 429 or 5xx, or none at all
    image_format: Literal["png", "jpeg"] = "png"  # jpeg is smaller and loses detail
    api_key_variable: str = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class RapidOcrSettings:
    backend: Literal["onnxruntime", "openvino"] = "onnxruntime"
    num_processes: int = 0  # 0: one per core


@dataclass(frozen=True, slots=True)
class TesseractSettings:
    languages: str = "eng"
    num_processes: int = 0  # 0: one per core


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """How vLLM runs. What is 0 or empty follows from the device; see `pipeline/engines/gpu/arguments.py`."""

    device: Literal["cuda", "cpu"] = "cuda"  # what the installed vLLM is built for
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"  # auto: the checkpoint's own
    quantization: str = ""  # of the weights, by vLLM's name for it ("fp8")
    kv_cache_dtype: str = "auto"
    hf_overrides: Mapping[str, Any] = field(default_factory=dict)  # changes to the checkpoint's config.json
    max_model_len: int = 0  # tokens of a page and its text; 0: what the checkpoint says
    max_num_seqs: int = 0  # pages decoded at once
    max_num_batched_tokens: int = 0  # of one step
    memory_share: Share = 0.0  # of the device
    enforce_eager: bool = False  # no CUDA graphs: starts sooner, runs slower
    encoder_device: str = ""  # "cuda:1" or "cpu": the vision tower outside of vLLM, which then only decodes
    megabytes_in_flight: Positive = 8192  # of pixels inside the engine; bounds its window
    stuck_after_s: Seconds = 300.0  # an engine with work that takes no step for so long is ended
    extra: Mapping[str, Any] = field(default_factory=dict)  # vLLM's own engine arguments, which win over ours


@dataclass(frozen=True, slots=True)
class ScriptedSettings:
    """What the scripted engine does; see `pipeline/engines/scripted_engine.py`.

    `pages` maps "<start of doc_id>:<page_index>" to a behaviour; the shares give the same behaviours to pages
    drawn by a hash of their identity.
    """

    window: Positive = 16
    seconds_per_page: float = 0.0
    tail_share: Share = 0.0  # share of pages that take `tail_factor` times as long
    tail_factor: float = 20.0
    loop_share: Share = 0.0
    truncate_share: Share = 0.0
    reject_share: Share = 0.0
    crash_share: Share = 0.0
    num_words: int = 60
    journal: str = ""  # a file to which each call appends a line when it begins
    trace: str = ""  # a file to which each call appends its times when it ends
    pages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextSettings:
    keep_headers_and_footers: bool = True  # in the Markdown; the blocks always have them
    write_markdown_files: bool = True


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How much is in the air at once. Changes speed and memory, never results."""

    megabytes_in_flight: Positive = 1024  # page images of one process, from rasterization to recognition
    open_shards: Positive = 256  # of one process, at most: pages that are read wait for the slowest of their shard
    pages_per_chunk: Positive = 16  # rasterized by one call, at most
    max_failed_share: Share | None = (
        None  # of pages, beyond which a run begins no more; None: no limit, but see canary
    )
    cache_mb: Positive = 8192  # of fetched documents, on local disk
    cache_dir: str = ""  # empty: below the system's folder for temporary files


@dataclass(frozen=True, slots=True)
class CostSettings:
    """What is estimated and what a run may use. GPU-hours, or core-hours where the engine computes on CPUs. Changes no
    results."""

    sample_documents: Positive = 300  # that an estimate looks at, about
    gpu: str = "A100-40G"  # a type of `pipeline/budget/prices.py`
    price_per_hour: Annotated[float, Ge(0)] | None = None  # USD of a GPU or core; None: see prices.py
    pages_per_gpu_day: Annotated[float, Gt(0)] | None = None  # as measured; None: reckoned
    max_gpu_hours: Annotated[float, Ge(0)] | None = None  # of all runs into the output folder; None: no limit
    max_cost: Annotated[float, Ge(0)] | None = None  # USD, of the same


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """Bounds that the first shards of a run must keep before it goes on. Shares are of pages. Changes no results."""

    enabled: bool | None = None  # None: where 100 shards or more are left
    max_loop_share: Share = (
        0.15  # with any attempt that looped; published figures: 4 % of PDF pages, 9 % of newspapers
    )
    max_failed_share: Share = 0.1
    min_tokens_per_page: Annotated[float, Ge(0)] = 20.0  # mean of the pages read, of engines that count tokens
    max_tokens_per_page: Annotated[float, Gt(0)] = 4000.0
    max_disagreeing_share: Share = 0.25  # of pages with a text layer to trust: half as long as it, or twice
    estimate_tolerance: Annotated[float, Ge(1)] = 1.5  # tokens may be so many times outside an estimate's interval


@dataclass(frozen=True, slots=True)
class RaySettings:
    address: str = "auto"  # "auto" and "local": see `quire convert --help`
    num_engines: int = 0  # 0: as many as the cluster's GPUs (CPUs for an engine without GPU) allow
    may_grow: bool = False  # the cluster adds nodes for what has no room yet; num_engines says how far
    engines_per_runner: Positive = 8
    rasterizer_cpus: float = 0.0  # that one rasterizer reserves; 0: what suits the engine
    shared_folders: bool = False  # every node sees the same local paths (NFS and the like)
    object_store_mb: int = 0  # of a cluster that this run starts; 0: Ray's own choice


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where Prometheus finds a run on one machine, or a cluster that this run starts. A cluster that is there already
    has ports of its own, which Ray lists in a file for Prometheus."""

    port: Annotated[int, Ge(0), Le(65535)] = 0  # 0: none
    host: str = "127.0.0.1"  # the address to listen on; "0.0.0.0" for a Prometheus on another machine


@dataclass(frozen=True, slots=True)
class NightlySettings:
    max_gone_share: Share = 0.5  # of the live objects; more gone at once is taken for a mistake


@dataclass(frozen=True, slots=True)
class Settings:
    storage: StorageSettings = StorageSettings()
    plan: PlanSettings = PlanSettings()
    render: RenderSettings = RenderSettings()
    engine: EngineSettings = EngineSettings()
    rapidocr: RapidOcrSettings = RapidOcrSettings()
    tesseract: TesseractSettings = TesseractSettings()
    vllm: VllmSettings = VllmSettings()
    http: HttpSettings = HttpSettings()
    scripted: ScriptedSettings = ScriptedSettings()
    text: TextSettings = TextSettings()
    flow: FlowSettings = FlowSettings()
    cost: CostSettings = CostSettings()
    canary: CanarySettings = CanarySettings()
    ray: RaySettings = RaySettings()
    metrics: MetricsSettings = MetricsSettings()
    nightly: NightlySettings = NightlySettings()


_CHANGES_RESULTS: Mapping[str, tuple[str, ...]] = {
    "render": ("renderer", "max_pixels"),
    "engine": ("name", "modes", "prompt", "max_output_tokens"),
    "text": ("keep_headers_and_footers",),
}
_CHANGES_RESULTS_OF_MODELS = (
    *("profile", "model", "model_revision", "parser", "temperature", "top_p"),
    *("ngram_size", "ngram_window", "ngram_whitelist"),
)
_CHANGES_RESULTS_OF_ENGINE: Mapping[str, tuple[str, ...]] = {
    "rapidocr": ("backend",),
    "tesseract": ("languages",),
    "vllm": ("dtype", "quantization", "kv_cache_dtype", "hf_overrides", "max_model_len", "extra"),
    "http": ("image_format",),
    "scripted": ("loop_share", "truncate_share", "reject_share", "crash_share", "num_words", "pages"),
}


def result_settings(settings: Settings) -> dict[str, Any]:
    """The settings that change results, as "section.key" → JSON value, without secrets. Everything else may differ
    freely."""
    name = settings.engine.name
    wanted = {**_CHANGES_RESULTS, name: _CHANGES_RESULTS_OF_ENGINE[name]}
    if name in DEFAULT_PROFILES:
        wanted["engine"] = (*_CHANGES_RESULTS["engine"], *_CHANGES_RESULTS_OF_MODELS)
    everything = dataclasses.asdict(settings)
    values = {f"{section}.{key}": everything[section][key] for section, keys in wanted.items() for key in keys}
    return {"results_version": RESULTS_VERSION, **without_secrets(json.loads(json.dumps(values)))}


def default_result_settings(engine: str) -> dict[str, Any]:
    """`result_settings` of whoever chooses nothing but the engine."""
    return result_settings(Settings(engine=EngineSettings(name=cast(Any, engine))))


def fingerprint(settings: Settings) -> str:
    """16 hex digits that differ whenever `result_settings` do. Of what is as by default only the engine's name goes in:
    a setting that is new changes no fingerprint while it is left alone. A folder keeps the one that it was begun with,
    see `run_folder.fingerprint_in`."""
    defaults = default_result_settings(settings.engine.name)
    always = ("results_version", "engine.name")
    told = {
        name: value
        for name, value in result_settings(settings).items()
        if name in always or value != defaults[name]
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def pages_per_shard(settings: Settings) -> int:
    """How many pages are committed together. A kill costs what is open, which is to be minutes of work of any engine: a
    page takes a core some 2 to 25 seconds, a server that nobody knows perhaps ten, a GPU less than one."""
    return settings.plan.pages_per_shard or _PAGES_PER_SHARD.get(settings.engine.name, PAGES_PER_SHARD)


def ray_address(ray: RaySettings) -> str:
    """Of the cluster to join, or "local" for one to start here."""
    return (environment("RAY_ADDRESS") or "local") if ray.address == "auto" else ray.address


def environment(name: str) -> str:
    """A variable of the environment, empty where it is not set."""
    return os.environ.get(name, "")


def api_key(http: HttpSettings) -> str:
    """The server's key, empty where there is none. Keep it out of logs, errors and files."""
    return environment(http.api_key_variable)
