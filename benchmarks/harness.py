"""What the benchmarks share: alternating timings, peak memory of a process, tables, JSON files."""

import multiprocessing
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch

from skeleton_reid.engine.results import write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "benchmarks"
MIB = 1 << 20


@dataclass(frozen=True)
class Options:
    """The command line. work: a folder that lasts as long as the run. quick: tiny sizes."""

    work: Path
    quick: bool = False
    full: bool = False
    rounds: int = 3
    features: Path | None = None
    data: Path | None = None
    raw: Path | None = None
    device: str = "cpu"


@dataclass
class Report:
    """What a benchmark measured.

    rows: the table, the same columns in each. numbers: others, for the JSON file. notes: lines
    below the table. requirements: text and whether it is met.
    """

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    requirements: list[tuple[str, bool]] = field(default_factory=list)

    def require(self, text: str, met: bool) -> None:
        self.requirements.append((text, bool(met)))


class SkippedError(Exception):
    """A benchmark that cannot run here; the message says what it needs."""


@dataclass(frozen=True)
class Seconds:
    """Wall time and CPU time of the process, all threads together."""

    wall: float
    cpu: float


def timed(work: Callable[[], Any]) -> tuple[Any, Seconds]:
    """The result of a call and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def alternate(versions: Mapping[str, Callable[[], Any]],
              rounds: int) -> tuple[dict[str, Any], dict[str, list[Seconds]]]:
    """Call all versions in turn, `rounds` times. Returns the last results and the times by version.

    In turn, so that what else the machine does meets every version alike.
    """
    results, times = {}, {name: [] for name in versions}
    for _ in range(rounds):
        for name, work in versions.items():
            results[name], seconds = timed(work)
            times[name].append(seconds)
    return results, times


def compare(times: Mapping[str, list[Seconds]], slow: str) -> list[dict[str, Any]]:
    """A row a version: median wall and CPU seconds, and the median ratio of `slow` to it."""
    rows = []
    for name, seconds in times.items():
        row: dict[str, Any] = {"version": name}
        for kind in ("wall", "cpu"):
            own = [getattr(s, kind) for s in seconds]
            other = [getattr(s, kind) for s in times[slow]]
            row[f"{kind} s"] = statistics.median(own)
            row[f"{kind} ratio"] = statistics.median(b / a for a, b in zip(own, other, strict=True))
        rows.append(row)
    return rows


def in_new_process(function: Callable, *args) -> Any:
    """The result of a module's function in a fresh process, whose peak memory is the call's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def peak_mib() -> float:
    """The most memory that this process has held, MiB.

    Linux: VmHWM, because ru_maxrss of a child process begins at what its parent held.
    """
    if (value := _status("VmHWM")) is not None:
        return value
    return _maxrss_mib(resource.getrusage(resource.RUSAGE_SELF))


def resident_mib() -> float:
    """The memory that this process holds now (without /proc: has held at most), MiB."""
    value = _status("VmRSS")
    return peak_mib() if value is None else value


def _status(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")),
                None)


def _maxrss_mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def run_script(*arguments: str | Path) -> dict[str, float]:
    """Run a script as a user does: `wall s`, `cpu s` and `peak MiB` of its process.

    Raises RuntimeError with the script's last words if it fails.
    """
    return in_new_process(_run_script, [sys.executable, *map(str, arguments)])


def _run_script(command: list[str]) -> dict[str, float]:
    # Started from a small process: see peak_mib.
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        output = process.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command[1:])} failed: {output[-500:]}")
    return {
        "wall s": time.perf_counter() - start, "cpu s": usage.ru_utime + usage.ru_stime,
        "peak MiB": _maxrss_mib(usage)
    }


def machine() -> str:
    """Processor and number of them, GPU if there is one, and PyTorch's version."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text() if info.is_file() else "")
    processor = model[1] if model else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor} x {os.cpu_count()}{gpu}, torch {torch.__version__}"


def conditions() -> dict[str, Any]:
    """On what the numbers were taken; the load says how much else was running."""
    return {
        "machine": machine(), "threads": torch.get_num_threads(),
        "load": [round(load, 1) for load in os.getloadavg()], "python": platform.python_version(),
        "numpy": numpy.__version__
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Text columns; numbers with three digits that count."""
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *numbers]).rstrip())
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(report: Report, quick: bool) -> None:
    """Print a report."""
    print(f"\n{report.title}\n{table(report.rows)}")
    for note in report.notes:
        print(f"  {note}")
    for text, met in report.requirements:
        verdict = "not judged at this size" if quick else "met" if met else "NOT MET"
        print(f"  required {text}: {verdict}")


def save(name: str, report: Report, before: dict[str, Any], quick: bool) -> Path:
    """Write a report as JSON, with the conditions before and the load after."""
    path = RESULTS / f"{name}{'.quick' if quick else ''}.json"
    content = {
        "benchmark": name, "quick": quick,
        "conditions": {**before, "load after": conditions()["load"]}, **asdict(report)
    }
    content["requirements"] = [{"required": text, "met": None if quick else met}
                               for text, met in report.requirements]
    write_json(path, content)
    return path
