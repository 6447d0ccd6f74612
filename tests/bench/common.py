"""Measure commands for the benchmarks: wall and CPU time, peak memory, and the ratio of two commands in one run.

Peak memory is the child's own VmHWM, read from /proc while it runs: the maximum that `wait4` reports would begin with
what its parent had when it forked.
"""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "ckpt_viewer"]
"""The command line of this checkout."""
POLL = 0.002

compileall.compile_dir(ROOT / "ckpt_viewer", quiet=1)  # as pip does; with PYTHONDONTWRITEBYTECODE no run would


class Run(NamedTuple):
    """One run of a command: wall and CPU seconds (user and system), peak memory in MB (decimal)."""

    seconds: float
    cpu: float
    peak: float


class Figures(NamedTuple):
    """Medians of several runs; `peak` is their maximum. `spread` is the range of the seconds."""

    seconds: float
    cpu: float
    peak: float
    spread: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.spread
        return f"{self.seconds:7.3f} s ({low:.3f} to {high:.3f}), CPU {self.cpu:6.3f} s, peak {self.peak:6.0f} MB"


def run_once(command: Sequence[str], *, env: Mapping[str, str] | None = None, codes: tuple[int, ...] = (0,)) -> Run:
    """Run a command to its end with its output thrown away.

    Raises:
        RuntimeError: its exit code is none of `codes`.
    """
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=whole
    )
    peak = 0
    while True:
        peak = max(peak, high_water(child.pid))
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(POLL)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in codes:
        raise RuntimeError(f"exit code {child.returncode}: {' '.join(command)}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak / 1e6)


def high_water(pid: int) -> int:
    """Return the largest resident set of a process so far, in bytes; 0 once it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split(maxsplit=1)[0]) * 1024 if found else 0


def figures(runs: Sequence[Run]) -> Figures:
    """Return the medians of some runs."""
    seconds = [run.seconds for run in runs]
    return Figures(
        statistics.median(seconds),
        statistics.median(run.cpu for run in runs),
        max(run.peak for run in runs),
        (min(seconds), max(seconds)),
    )


def compare(
    commands: Mapping[str, Sequence[str]], times: int, env: Mapping[str, str] | None = None
) -> dict[str, Figures]:
    """Run some commands in turn, `times` times each after one unmeasured run, so that noise meets all of them."""
    for command in commands.values():
        run_once(command, env=env)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            runs[name].append(run_once(command, env=env))
    return {name: figures(each) for name, each in runs.items()}


def python(code: str, *arguments: str) -> list[str]:
    """Return the command that runs some Python code."""
    return [sys.executable, "-c", code, *arguments]
