"""The cores that a process may keep busy: what its machine lets it run on, and what its container's quota leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quire.processes.cores import num_cores

ALLOWED = set(range(8))


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "250000 100000"}, 3),
        ("0::/", {"cpu.max": "10000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "3200000 100000"}, 8),  # more than there are
        ("0::/kubepods/pod1/c1", {"kubepods/pod1/cpu.max": "300000 100000"}, 3),  # a group above has it
        ("0::/a/b", {"cpu.max": "400000 100000", "a/b/cpu.max": "600000 100000"}, 4),
        ("0::/docker/ab12", {"cpu.max": "200000 100000"}, 2),  # the host's path, of which only the top is there
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("4:cpuacct,cpu:/x", {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpu:/x\n0::/", {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 5),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("3:cpuset:/\n4:memory:/", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("0::/", {"cpu.max": "nonsense"}, 8),
        ("0::/", {}, 8),
    ],
)
def test_quotas_of_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: ALLOWED)
    proc = tmp_path / "proc/self/cgroup"
    proc.parent.mkdir(parents=True)
    proc.write_text(groups + "\n")
    for name, content in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert num_cores(tmp_path) == expected


def test_a_machine_without_control_groups(tmp_path: Path) -> None:
    assert num_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_this_machine() -> None:
    assert 1 <= num_cores() <= len(os.sched_getaffinity(0))
