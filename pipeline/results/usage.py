"""How long devices worked for an output folder: one small object a run, `usage/<id>.json`.

A run counts the time from the request for its engines to its end, idle or not, times the GPUs or cores that it
occupies: this is what is paid for. It writes this once a minute and at its end, so a run that is killed or interrupted
loses at most a minute. Planning is not counted. The numbers depend on the clock, and no result depends on them.
"""

from __future__ import annotations

import json
import time
import uuid

from quire.errors import DamagedResults
from quire.storage import Folder


class Meter:
    """The time of one run so far."""

    def __init__(self, folder: Folder, num_devices: float) -> None:
        self._folder = folder
        self.run_id = uuid.uuid4().hex
        self._key = f"usage/{self.run_id}.json"
        self._started = time.monotonic()
        self.num_devices = num_devices

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def device_hours(self) -> float:
        return self.seconds * self.num_devices / 3600

    def note(self) -> None:
        """Write the time so far, over what was noted before."""
        noted = {"num_devices": self.num_devices, "seconds": round(self.seconds, 3)}
        self._folder.put(self._key, json.dumps(noted).encode() + b"\n")


def used_hours(folder: Folder) -> float:
    """GPU-hours (or core-hours) of all runs that noted any."""
    return sum(_hours(folder, info.key) for info in folder.list("usage/"))


def _hours(folder: Folder, key: str) -> float:
    try:
        noted = json.loads(folder.get(key))
        return float(noted["num_devices"] * noted["seconds"] / 3600)
    except (ValueError, TypeError, KeyError) as exc:
        raise DamagedResults(
            f"{folder.uri}/{key} is damaged: bring it back from a copy; or delete it, and the limit on hours or cost "
            "does not know of that run"
        ) from exc
