"""The Arrow tables, and the functions from records to rows. Each schema's metadata has its version.

pages — one row a page, the truth. Sorted as the shard lists them: by document, then page_index.

| column | type | meaning |
|---|---|---|
| doc_id | string | sha256 of the document's bytes, hex |
| source_uri, source_etag | string | the object that was converted |
| page_index, num_pages | int32 | 0-based; pages of the whole document |
| outcome | string | ocr, text_layer, blank or failed |
| reason | string | why the page has this outcome, in a few words |
| failure | struct | stage, kind, message; null unless outcome is failed |
| marks | list of struct | kind, message: doubts about a page that did not fail; see `Mark`. Since version 2 |
| ink_read_share | float32 | share of text-like ink that lies in blocks; null: unknown. Since version 2 |
| markdown | string | the page's text; empty for blank and failed pages |
| raw_text | string | the engine's completion, untouched, also if the page failed in the end |
| blocks | list of struct | label, text, x0, y0, x1, y1 (shares of the page, 0–1; null where unknown) |
| engine, model, model_revision | string | what read the page; the revision is a commit, empty where there is none |
| prompt, mode | string | what the model was asked, and at which resolution mode |
| width_px, height_px, dpi | int32, int32, float32 | the whole-page view without its padding |
| num_image_tokens, num_output_tokens | int32 | 0 for engines that count none |
| compression | float32 | output tokens per image token, null where either is 0 |
| mean_logprob | float32 | natural logarithm, null if unknown |
| finish_reason | string | stop, length or loop |
| attempts | list of struct | mode, temperature, outcome |
| image_sha256, renderer | string | of the pixels that were read |
| facts | struct | what rendering found: see `PageFacts` |
| quire_version, config_fingerprint | string | |

documents — one row a planned document: `doc_id`, `source_uri`, `source_etag`, `name`, `status`, `detail`,
`duplicate_of`, `media_type`, `size_bytes`, `num_pages`, `title`, `metadata` (other metadata of the document: a list of
name and value; before version 2 a map, which not every program reads), `num_ocr`, `num_text_layer`,
`num_blank`, `num_failed`, `text`, `page_ends` (end of each page in `text`, in code points; page i is
`text[page_ends[i-1] + s : page_ends[i]]` with s the length of the setting text.page_separator, 2 by default; page 0
starts at 0), `page_indices` (which pages these are, 0-based; null if they are all pages of the document; since
version 2), `languages` (language, share of the text's letters),
`num_tokens` (sum of output tokens; null for engines that count none).

plan — one row a document: what the listing and the probe said (`metadata` as in `documents`), and `ranges`, its page
ranges with the shard of each. `is_again` (since version 2): the row replaces all earlier rows of this object or these
bytes.

nights — one file for each night (an incremental run of `quire nightly`). The newest is a snapshot of the inputs: one
row a live object, and one for each object that was deleted in that night.

| column | type | meaning |
|---|---|---|
| uri, etag, size_bytes | string, string, int64 | the object, as the listing gave it |
| change | string | in this night: added, edited, touched, renamed, opened, retried, deleted, or empty |
| renamed_from | string | the old URI of the same bytes, deleted in this night; empty unless change is renamed |
| night | int32 | the night in which the row was made |
| doc_id | string | sha256 of the bytes; empty for an object that is too large to be read |
| status, detail | string | as in `documents`, but never duplicate: the status is that of the bytes |
| num_pages, num_failed | int32 | of the bytes' pages |
| name | string | its Markdown is `markdown/<name>.md` |
| documents_file | string | the file with the row of `documents` that has its text; find it by doc_id |
| pages_files | list of string | the files with its rows of `pages`; find them by doc_id |

`touched`: the same bytes with another etag. `opened`: a document that can be read now (there is a password). `retried`:
a document whose pages were read again, because some had failed.

timings — one row a page, for people: seconds of each stage, the host, and since version 2 `finished_at` (UTC). Kept
out of `pages`, whose bytes depend only on the documents and the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from quire.records import Block, Document, DocumentText, Failure, Outcome, PageFacts, PageResult, PageTiming

FACT_TYPES = {
    "width_pt": pa.float32(),
    "height_pt": pa.float32(),
    "ink_share": pa.float32(),
    "num_chars": pa.int32(),
    "num_fonts": pa.int32(),
    "num_fonts_without_unicode": pa.int32(),
    "private_use_share": pa.float32(),
    "image_cover": pa.float32(),
    "min_glyph_height_pt": pa.float32(),
}

LATER_COLUMNS = frozenset({"marks", "ink_read_share", "page_indices"})
"""Columns that older versions did not write. In their files they count as null."""

_FAILURE = pa.struct([("stage", pa.string()), ("kind", pa.string()), ("message", pa.string())])
_BLOCK = pa.struct(
    [("label", pa.string()), ("text", pa.string())] + [(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")]
)
_MARK = pa.struct([("kind", pa.string()), ("message", pa.string())])
_ATTEMPT = pa.struct([("mode", pa.string()), ("temperature", pa.float32()), ("outcome", pa.string())])
_RANGE = pa.struct([("shard_id", pa.string()), ("start", pa.int32()), ("stop", pa.int32())])
_METADATA = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
_LANGUAGE = pa.struct([("language", pa.string()), ("share", pa.float32())])


def _schema(name: str, version: int, columns: dict[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(columns.items()), metadata={"quire.table": f"{name}/{version}"})


PAGES = _schema(
    "pages",
    2,
    {
        "doc_id": pa.string(),
        "source_uri": pa.string(),
        "source_etag": pa.string(),
        "page_index": pa.int32(),
        "num_pages": pa.int32(),
        "outcome": pa.string(),
        "reason": pa.string(),
        "failure": _FAILURE,
        "marks": pa.list_(_MARK),
        "ink_read_share": pa.float32(),
        "markdown": pa.string(),
        "raw_text": pa.string(),
        "blocks": pa.list_(_BLOCK),
        "engine": pa.string(),
        "model": pa.string(),
        "model_revision": pa.string(),
        "prompt": pa.string(),
        "mode": pa.string(),
        "width_px": pa.int32(),
        "height_px": pa.int32(),
        "dpi": pa.float32(),
        "num_image_tokens": pa.int32(),
        "num_output_tokens": pa.int32(),
        "compression": pa.float32(),
        "mean_logprob": pa.float32(),
        "finish_reason": pa.string(),
        "attempts": pa.list_(_ATTEMPT),
        "image_sha256": pa.string(),
        "renderer": pa.string(),
        "facts": pa.struct(list(FACT_TYPES.items())),
        "quire_version": pa.string(),
        "config_fingerprint": pa.string(),
    },
)

DOCUMENTS = _schema(
    "documents",
    2,
    {
        "doc_id": pa.string(),
        "source_uri": pa.string(),
        "source_etag": pa.string(),
        "name": pa.string(),
        "status": pa.string(),
        "detail": pa.string(),
        "duplicate_of": pa.string(),
        "media_type": pa.string(),
        "size_bytes": pa.int64(),
        "num_pages": pa.int32(),
        "title": pa.string(),
        "metadata": _METADATA,
        "num_ocr": pa.int32(),
        "num_text_layer": pa.int32(),
        "num_blank": pa.int32(),
        "num_failed": pa.int32(),
        "text": pa.large_string(),
        "page_ends": pa.list_(pa.int64()),
        "page_indices": pa.list_(pa.int32()),
        "languages": pa.list_(_LANGUAGE),
        "num_tokens": pa.int64(),
        "config_fingerprint": pa.string(),
    },
)

PLAN = _schema(
    "plan",
    2,
    {
        "uri": pa.string(),
        "etag": pa.string(),
        "size_bytes": pa.int64(),
        "doc_id": pa.string(),
        "media_type": pa.string(),
        "num_pages": pa.int32(),
        "status": pa.string(),
        "detail": pa.string(),
        "output_name": pa.string(),
        "duplicate_of": pa.string(),
        "metadata": _METADATA,
        "ranges": pa.list_(_RANGE),
        "is_again": pa.bool_(),
    },
)

NIGHTS = _schema(
    "nights",
    1,
    {
        "uri": pa.string(),
        "etag": pa.string(),
        "size_bytes": pa.int64(),
        "change": pa.string(),
        "renamed_from": pa.string(),
        "night": pa.int32(),
        "doc_id": pa.string(),
        "status": pa.string(),
        "detail": pa.string(),
        "num_pages": pa.int32(),
        "num_failed": pa.int32(),
        "name": pa.string(),
        "documents_file": pa.string(),
        "pages_files": pa.list_(pa.string()),
    },
)

TIMINGS = _schema(
    "timings",
    2,
    {
        "doc_id": pa.string(),
        "page_index": pa.int32(),
        "render_s": pa.float32(),
        "recognize_s": pa.float32(),
        "attempt_s": pa.list_(pa.float32()),
        "host": pa.string(),
        "finished_at": pa.timestamp("ms", tz="UTC"),
    },
)


def page_row(page: PageResult, provenance: Mapping[str, str]) -> dict[str, object]:
    """One row of `pages`. `provenance`: engine, model, model_revision, quire_version and
    config_fingerprint."""
    image, recognition = page.image, page.recognition
    num_image_tokens = image.num_image_tokens if image else 0
    num_output_tokens = recognition.num_output_tokens if recognition else 0
    has_ratio = num_image_tokens > 0 and num_output_tokens > 0
    return {
        "doc_id": page.doc_id,
        "source_uri": page.source_uri,
        "source_etag": page.source_etag,
        "page_index": page.page_index,
        "num_pages": page.num_pages,
        "outcome": page.outcome.value,
        "reason": page.reason,
        "failure": _failure_row(page.failure),
        "marks": [{"kind": mark.kind, "message": mark.message} for mark in page.marks],
        "ink_read_share": page.ink_read_share,
        "markdown": page.markdown,
        "raw_text": page.raw_text,
        "blocks": [_block_row(block) for block in page.blocks],
        "prompt": page.prompt,
        "mode": image.mode if image else "",
        "width_px": image.width_px if image else 0,
        "height_px": image.height_px if image else 0,
        "dpi": image.dpi if image else None,
        "num_image_tokens": num_image_tokens,
        "num_output_tokens": num_output_tokens,
        "compression": num_output_tokens / num_image_tokens if has_ratio else None,
        "mean_logprob": recognition.mean_logprob if recognition else None,
        "finish_reason": recognition.finish_reason if recognition else "",
        "attempts": [{"mode": a.mode, "temperature": a.temperature, "outcome": a.outcome} for a in page.attempts],
        "image_sha256": image.sha256 if image else "",
        "renderer": page.renderer,
        "facts": _facts_row(page.facts),
        **provenance,
    }


def document_row(document: Document, text: DocumentText | None, fingerprint: str) -> dict[str, object]:
    """One row of `documents`. `text` is None for a document without pages to read."""
    metadata = dict(document.metadata)
    title = metadata.pop("title", None)
    row: dict[str, object] = {
        "doc_id": document.doc_id,
        "source_uri": document.uri,
        "source_etag": document.etag,
        "name": document.output_name,
        "status": document.status.value,
        "detail": document.detail,
        "duplicate_of": document.duplicate_of,
        "media_type": document.media_type,
        "size_bytes": document.size_bytes,
        "num_pages": document.num_pages,
        "title": title,
        "metadata": metadata_rows(metadata.items()),
        "config_fingerprint": fingerprint,
    }
    if text is not None:
        row |= {f"num_{outcome.value}": text.counts[outcome] for outcome in Outcome}
        row |= {
            "text": text.text,
            "page_ends": list(text.page_ends),
            "page_indices": None if len(text.page_indices) == document.num_pages else list(text.page_indices),
            "languages": [{"language": name, "share": share} for name, share in text.languages],
            "num_tokens": text.num_tokens,
        }
    return row


def metadata_rows(metadata: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The column `metadata`."""
    return [{"name": name, "value": value} for name, value in metadata]


def timing_row(timing: PageTiming) -> dict[str, object]:
    return {
        "doc_id": timing.doc_id,
        "page_index": timing.page_index,
        "render_s": timing.render_s,
        "recognize_s": timing.recognize_s,
        "attempt_s": list(timing.attempt_s),
        "host": timing.host,
        "finished_at": timing.finished_at,
    }


def _failure_row(failure: Failure | None) -> dict[str, str] | None:
    if failure is None:
        return None
    return {"stage": failure.stage, "kind": failure.kind, "message": failure.message}


def _block_row(block: Block) -> dict[str, object]:
    x0, y0, x1, y1 = block.box or (None, None, None, None)
    return {"label": block.label, "text": block.text, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


def _facts_row(facts: PageFacts | None) -> dict[str, object] | None:
    return None if facts is None else {name: getattr(facts, name) for name in FACT_TYPES}
