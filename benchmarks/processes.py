"""What a process and its descendants have used so far, from /proc (Linux)."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time of a process tree, ended children included, and the sum of its peaks of resident memory."""

    cpu_seconds: float
    peak_bytes: int


def tree(pid: int) -> list[int]:
    """The process ids of `pid` and all its living descendants."""
    found = [pid]
    for each in found:
        for listed in PROC.glob(f"{each}/task/*/children"):
            with suppress(OSError):
                found.extend(int(child) for child in listed.read_text().split())
    return found


def usage(pid: int) -> Usage:
    """What the tree under `pid` has used; processes that end meanwhile count as far as they were seen."""
    cpu_seconds = 0.0
    peak_bytes = 0
    for each in tree(pid):
        with suppress(OSError):
            fields = (PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
            cpu_seconds += sum(int(ticks) for ticks in fields[11:15]) / TICK
        with suppress(OSError):
            for line in (PROC / str(each) / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak_bytes += int(line.split()[1]) * 1024
    return Usage(cpu_seconds, peak_bytes)


def forget_peak(pid: int) -> None:
    """Let the peak of resident memory of `pid` start again from what it has now."""
    with suppress(OSError):
        (PROC / str(pid) / "clear_refs").write_text("5")
