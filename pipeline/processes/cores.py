"""How many cores this process may keep busy, and so how many computing processes make sense.

The cores that it may run on, limited by its container's quota of CPU time, which the kernel's affinity mask does not
show. Linux only. Does not know what the cores are for.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("sys/fs/cgroup")


def num_cores(root: Path = Path("/")) -> int:
    """At least 1; a quota of 2.5 cores comes to 3. `root`: where `proc` and `sys` are."""
    quotas = [cores for group in _control_groups(root) for cores in _quotas(group)]
    return max(1, math.ceil(min([len(os.sched_getaffinity(0)), *quotas])))


def _control_groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, from its own upwards: each may have a quota. In a container
    the path may be the host's, and only its top exists."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            top = root / _CGROUPS / ("cpu" if controllers else "")  # version 1 has a tree for each controller
            inner = top / path.strip("/")
            yield from (inner, *(parent for parent in inner.parents if parent.is_relative_to(top)))


def _quotas(group: Path) -> Iterator[float]:
    """A group's quotas in cores, version 2 or 1; none if it has no quota."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        yield int(quota) / int(period)  # "max" where there is none
    with contextlib.suppress(OSError, ValueError):
        quota = (group / "cpu.cfs_quota_us").read_text()
        if int(quota) > 0:  # -1 where there is none
            yield int(quota) / int((group / "cpu.cfs_period_us").read_text())
