"""An estimate as a file: `estimate.json` in the output folder, beside the results that it predicts."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

from quire.errors import NotFound
from quire.estimate.figures import Figure
from quire.storage import Folder

_log = logging.getLogger(__name__)

KEY = "estimate.json"


@dataclass(frozen=True, slots=True)
class Estimate:
    """`figures` as `reckon` names them, with `cost_usd` and `run_hours` of `num_devices` where there is a pace.

    `fingerprint`: of the settings that it is for. `seen_bytes` were fetched of `seen_documents`. `device`: a GPU type
    or "core". `notes`: in words, what is assumed.
    """

    fingerprint: str
    made_at: str
    num_documents: int
    num_bytes: int
    seen_documents: int
    seen_bytes: int
    seen_pages: int
    device: str
    num_devices: float
    price_per_hour: float
    figures: dict[str, Figure]
    notes: tuple[str, ...] = ()


def to_json(estimate: Estimate) -> str:
    return json.dumps(asdict(estimate), indent=2, ensure_ascii=False)


def write_estimate(folder: Folder, estimate: Estimate) -> None:
    """Write it; it replaces an earlier one."""
    folder.put(KEY, to_json(estimate).encode("utf-8", "replace") + b"\n")


def read_estimate(folder: Folder, fingerprint: str) -> Estimate | None:
    """The folder's estimate. None if there is none, or if it was made for other settings or by a version of Quire with
    another format: only a comparison is lost."""
    try:
        values: dict[str, Any] = json.loads(folder.get(KEY))
        if values["fingerprint"] != fingerprint:
            return None
        figures = {name: Figure(**figure) for name, figure in values.pop("figures").items()}
        return Estimate(figures=figures, notes=tuple(values.pop("notes")), **values)
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        _log.warning("%s/%s is no estimate of this version of Quire and is left aside: %r", folder.uri, KEY, exc)
        return None
