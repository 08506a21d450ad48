"""The sections of settings, except those of single engines. Each is a dataclass; its docstring is shown to users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

from quire.config.profiles import Parser
from quire.config.setting import Amount, Count, Positive, Seconds, Share, Temperature, setting
from quire.processes.cage import CageMode


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """How object stores are reached. What is not set, the AWS configuration and environment say.

    Credentials are never settings: they come from boto3's usual chain, or Google's, or Azure's. Settings of endpoints
    and buckets are S3's; `anonymous`, `etag_is_md5` and those of tries are for all.
    """

    endpoint_url: str | None = setting(None, "An S3 endpoint other than AWS.")
    region: str | None = setting(None, "The bucket's region.")
    anonymous: bool = setting(False, "Send unsigned requests, for public buckets.")
    path_style: bool | None = setting(
        None, "Buckets in the path, not in the host name. Not set: path style for an endpoint other than AWS."
    )
    request_payer: bool = setting(False, "Pay for what is read from buckets whose owner lets readers pay.")
    etag_is_md5: bool = setting(
        True, "An ETag of 32 hex digits is the object's MD5, which what is read must have; not with KMS."
    )
    sse_kms_key_id: str = setting("", "What is written is encrypted with this KMS key; empty: as the bucket says.")
    max_retries: int = setting(40, "Of one request; so many that retry_timeout_s ends it.")
    retry_timeout_s: Seconds = setting(180.0, "How long one request is tried again.")


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How documents become shards."""

    pages_per_shard: Positive | None = setting(
        None, "Pages that are committed at once. Not set: 16 with an engine on CPUs, 64 with http, 256 with vllm."
    )
    pages: str = setting(
        "",
        'Of each document those alone, like "1-5,9", counted from 1; "3-": the third and all after. Empty: all. A '
        "document of which pages are left out has the status partial.",
    )
    max_document_mb: Positive = setting(2048, "Larger documents are recorded as too_large and not fetched.")
    max_document_pages: Positive = setting(
        50_000, "Longer documents are recorded as too_large: a page tree that repeats itself can claim millions."
    )
    documents_per_part: Positive = setting(2000, "What planning commits at once.")
    num_fetches: Positive = setting(8, "Documents fetched and probed at the same time.")


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Rasterization: which renderer, and the limits of one page. Time is CPU time and not the clock's, or a busy
    machine would fail pages that an idle one renders."""

    renderer: Literal["mupdf", "pdfium"] | None = setting(
        None,
        "What renders PDF pages first. Not set: what the output folder was begun with; for a new one mupdf where it is "
        "installed, else pdfium.",
    )
    max_pixels: Positive = setting(50_000_000, "Of one view of a page, or of one decoded source image.")
    page_cpu_s: Seconds = setting(30.0, "CPU time of one renderer at one page.")
    probe_cpu_s: Seconds = setting(60.0, "CPU time to open a document.")
    memory_mb: Positive = setting(1024, "Private memory of one rendering process.")
    sandbox: CageMode = setting(
        "best",
        "The cage around whatever opens documents. require: all of it or no run; best: what the machine has.",
    )
    num_workers: int = setting(0, "Rendering processes; 0: one per core that may be used.")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engine reads the pages, with which model, and how a page's attempts climb.

    A profile gives every setting from `model` to `ngram_whitelist` that is not set here.
    """

    name: str = setting("rapidocr", "What reads the pages; see `quire engines`.")
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
class TextSettings:
    """What becomes of the pages' text."""

    keep_headers_and_footers: bool = setting(True, "Whether the Markdown has them; the blocks always do.")
    page_separator: str = setting("\n\n", "What stands between two pages in the Markdown files and in `text`.")
    page_marks: bool = setting(
        False,
        "Begin each page in the Markdown files with <!-- page 3 -->. A failed page always has such a comment.",
    )
    write_markdown_files: bool = setting(True, "One Markdown file a document, beside the tables.")


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How much is in the air at once. Changes speed and memory, never results."""

    megabytes_in_flight: Positive = setting(1024, "Page images of one process, from rasterization to recognition.")
    open_shards: Positive = setting(
        256, "Of one process, at most: pages that are read wait for the slowest of their shard."
    )
    pages_per_chunk: Positive = setting(16, "Rasterized by one call, at most.")
    max_failed_share: Share | None = setting(
        None, "Of pages that failed, beyond which a run begins no more. Not set: no limit, but see the canary."
    )
    cache_mb: Positive = setting(8192, "Of fetched documents, on this machine's disk.")
    cache_dir: str = setting("", "Where they are; empty: below the system's folder for temporary files.")


@dataclass(frozen=True, slots=True)
class CostSettings:
    """What is estimated and what a run may use. GPU-hours, or core-hours where the engine computes on CPUs. Changes no
    results."""

    sample_documents: Positive = setting(300, "How many an estimate looks at, about.")
    gpu: str = setting("A100-40G", "The type of GPU that is reckoned with; `quire plan --help` lists them.")
    price_per_hour: Amount | None = setting(None, "USD of a GPU or core. Not set: a round list price.")
    pages_per_gpu_day: Annotated[float, Gt(0)] | None = setting(
        None, "What a GPU (a core) was measured to read. Not set: reckoned."
    )
    max_gpu_hours: Amount | None = setting(
        None, "What all runs into the output folder may take. Not set: no limit."
    )
    max_cost: Amount | None = setting(
        None, "USD that all runs into the output folder may take. Not set: no limit."
    )


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """Bounds that the first shards of a run must keep before it goes on. Shares are of pages. Changes no results."""

    enabled: bool | None = setting(None, "Whether it is asked. Not set: where 100 shards or more are left.")
    max_loop_share: Share = setting(
        0.15, "Pages with any attempt that looped; published figures: 4 % of PDF pages, 9 % of newspapers."
    )
    max_failed_share: Share = setting(0.1, "Pages that failed.")
    min_tokens_per_page: Amount = setting(20.0, "Mean of the pages read, of engines that count tokens.")
    max_tokens_per_page: Annotated[float, Gt(0)] = setting(4000.0, "Likewise.")
    max_disagreeing_share: Share = setting(
        0.25, "Of pages with a text layer to trust: those half as long as it, or twice."
    )
    estimate_tolerance: Annotated[float, Ge(1)] = setting(
        1.5, "Tokens may be so many times outside an estimate's interval."
    )


@dataclass(frozen=True, slots=True)
class RaySettings:
    """Where a run with --ray goes, and how much of a cluster it takes."""

    address: str = setting("auto", 'The cluster; "auto" and "local": see `quire convert --help`.')
    num_engines: int = setting(
        0, "Engines; 0: as many as the cluster's GPUs (CPUs for an engine without GPU) allow."
    )
    may_grow: bool = setting(False, "The cluster adds nodes for what has no room yet; num_engines says how far.")
    engines_per_runner: Positive = setting(8, "Engines that one process feeds.")
    rasterizer_cpus: float = setting(0.0, "What one rasterizer reserves; 0: what suits the engine.")
    shared_folders: bool = setting(False, "Every node sees the same local paths (NFS and the like).")
    object_store_mb: int = setting(0, "Ray's store of a cluster that this run starts; 0: Ray's own choice.")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where Prometheus finds a run on one machine, or a cluster that this run starts. A cluster that is there already
    has ports of its own, which Ray lists in a file for Prometheus."""

    port: Annotated[int, Ge(0), Le(65535)] = setting(0, "Where metrics are served; 0: nowhere.")
    host: str = setting("127.0.0.1", 'The address to listen on; "0.0.0.0" for a Prometheus on another machine.')


@dataclass(frozen=True, slots=True)
class NightlySettings:
    """What `quire nightly` takes for a mistake."""

    max_gone_share: Share = setting(0.5, "Of the live objects; more gone at once is taken for a mistake.")
