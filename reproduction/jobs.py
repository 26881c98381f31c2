"""Runs of the experiments: what is done, what is missing, and how a run is made and kept: in a
record, <name>.json in its folder, with key, seconds, machine and, once done, the script's result.
"""

import json
import os
import platform
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import cycle
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

from filelock import FileLock, Timeout

from skeleton_reid.common.command_line import devices
from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.data.files import provenance
from skeleton_reid.data.layouts import locate
from skeleton_reid.data.raw.formats import RAW, find
from skeleton_reid.data.simulate import simulate
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.results import write_json
from skeleton_reid.reproduction.experiments import Cell, Job

PROJECT = Path(__file__).resolve().parent.parent
FAILED = "failed: "
Record = dict[str, Any]
Outcome = Record | str | None  # done, why it cannot be or has failed, or not yet
Outcomes = dict[Path, Outcome]  # by the path of the run

# --quick: persons, frames, recordings; windows for a batch of 256 in every training set.
SIMULATED = {"BIWI": (6, 60, 1), "IAS": (5, 50, 1), "KGBD": (6, 50, 4), "KS20": (5, 20, 5)}
SIMULATED["CASIA_B"] = (8, 80, 1)


@dataclass(frozen=True)
class Runs:
    """Where and how runs are made."""

    data: Path
    folder: Path  # of all runs
    device: str = "auto"
    epochs: int | None = None  # a cap for every run
    quiet: bool = False
    small: bool = False  # tiny networks
    at_once: int = 1  # runs, among which the threads are divided

    def key(self, job: Job) -> Record:
        """What decides a run's figures: command, cap of epochs, data, and those of its encoders."""
        row, column = job.row, job.column
        key = {"script": row.script, "words": self._words(job)}
        key["epochs"] = self.epochs if row.trained else None
        key["data"] = provenance(column.dataset, column.length, self.data, column.view)
        if job.needs:
            key["needs"] = [self.key(each) for each in job.needs]
        return key

    def record(self, job: Job) -> Record | None:
        """The record of a run that is done; None if it is not."""
        record = self._read(job)
        return record if "result" in record and record["key"] == self.key(job) else None

    def obstacle(self, job: Job) -> str | None:
        """Why a run cannot be: where its data were looked for, and how they can be had; or None."""
        column, row = job.column, datasets.get(job.column.dataset)
        tests = row.pair(column.probe) if column.view is None else ("test",)
        splits = ["train", *dict.fromkeys(tests)]
        try:
            locate(row, splits, column.length, self.data, column.view, optional=tests[1:])
        except InputError as error:
            return f"{error}; the real data: {RAW[row.name].source}, their terms: docs/1-data.md"
        return None

    def make(self, job: Job) -> Record | str:
        """Run a job, or go on with it, in a process of its own: its record, or why it failed."""
        import torch  # here, so that --list starts at once

        begun, key = self._read(job), self.key(job)
        resume = begun.get("key") == key
        if not resume and all(needed.folder != job.folder for needed in job.needs):
            shutil.rmtree(self.folder / job.folder, ignore_errors=True)  # other settings or data
        device, spent = next(self.turns), begun["seconds"] if resume else 0.0
        record = {"key": key, "seconds": spent}
        record["made_by"] = {"machine": machine(), "device": device}
        write_json(self._file(job), record)
        threads = str(torch.get_num_threads() // self.at_once or 1)
        environment = os.environ | {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
        file, start = self._file(job, ".errors.txt"), time.time()
        try:
            with file.open("w") as errors:
                child = Popen(self.command(job, resume, device), env=environment, stderr=errors,
                              stdout=DEVNULL if self.quiet else None)
            self.children.append(child)
            if (code := child.wait()) in (130, -signal.SIGINT):
                raise KeyboardInterrupt
            lines = [line for line in file.read_text().splitlines() if line.strip()]
            if code:
                return FAILED + [f"exit code {code}", *lines][-1].removeprefix("error: ")
            if lines:
                print(*lines, sep="\n", file=sys.stderr)  # warnings
            record["result"] = json.loads(self._file(job, ".result.json").read_text())
            return record
        finally:
            record["seconds"] = round(spent + time.time() - start, 1)
            write_json(self._file(job), record)

    @cached_property
    def children(self) -> list[Popen]:
        """The processes that were started."""
        return []

    @cached_property
    def turns(self) -> Iterator[str]:
        """The devices of the runs: of several GPUs one after the other."""
        return cycle(devices(self.device))

    def command(self, job: Job, resume: bool = False, device: str = "auto") -> list[str]:
        """The command line of a job. resume: go on, if there are files to go on from."""
        folder, words = self.folder / job.folder, self._words(job)
        words += ["--data", str(self.data), "--device", device]
        words += ["--json", str(self._file(job, ".result.json"))]
        if job.row.source[0]:
            encoders = (self.folder / job.needs[0].folder).rglob("encoder/best.pt")
            words[words.index("{source}")] = str(next(encoders, "encoder/best.pt"))
        if job.row.script.startswith("train_"):
            words += ["--out", str(folder)]
            if resume and any(folder.rglob("*last.pt")) and "--resume" not in words:
                words.append("--resume")
        if self.epochs and job.row.trained:
            words += ["--epochs", str(self.epochs)]
        if self.quiet:
            words.append("--quiet")
        return [sys.executable, str(PROJECT / job.row.script), *words]

    def _words(self, job: Job) -> list[str]:
        small = {own.script: own.small for own in METHODS.values()} if self.small else {}
        values = small.get(job.row.script, {}).items()
        return job.words + [word for name, x in values for word in (f"--{name}", str(x))]

    def _file(self, job: Job, suffix: str = ".json") -> Path:
        return self.folder / f"{job.path}{suffix}"

    def _read(self, job: Job) -> Record:
        """The record of a run; {} if it cannot be read, so that the run is made again."""
        try:
            return json.loads(self._file(job).read_text())
        except (OSError, ValueError):
            return {}


def make_all(work: Collection[Job], runs: Runs, outcomes: Outcomes, begin: Callable[[Job], Any],
             after_each: Callable[[], None]) -> None:
    """Make the runs that have no outcome yet: their records, or why they failed.

    begin: gives the future of a run, in a thread or of Slurm. A lock keeps runs of one folder
    apart, also from those of another process; what that has made counts.
    """
    left = [job for job in work if outcomes[job.path] is None]
    total, running, waits = len(left), [], False
    try:
        while left or running:
            for job in left[:]:
                lock = FileLock(runs.folder / f"{job.folder}.lock")
                if len(running) < runs.at_once and all(outcomes[each.path] for each in job.needs):
                    with suppress(Timeout):
                        lock.acquire(timeout=0)
                        left.remove(job)
                        print(f"[{total - len(left)}/{total}] {job.path}", flush=True)
                        attempt = _known(job, runs, outcomes) or begin(job)
                        running.append((job, attempt, lock))
            if left and not running and not waits:
                print(f"waiting for another process, which is at {left[0].path}", flush=True)
                waits = True
            time.sleep(0.1)
            for job, attempt, lock in [each for each in running if each[1].done()]:
                running.remove((job, attempt, lock))
                try:
                    outcome = attempt.result()
                except RuntimeError as error:  # Slurm ended it: no time or memory was left
                    outcome = FAILED + " ".join(str(error).splitlines()[:2])
                outcomes[job.path] = outcome
                lock.release()
                print(f"    {job.path}: {outcome if isinstance(outcome, str) else 'done'}",
                      flush=True)
                after_each()
    except BaseException:
        for _, attempt, _ in running:
            attempt.cancel()
        for child in runs.children:
            child.send_signal(signal.SIGINT)  # it saves its state; the threads wait for that
        raise


def _known(job: Job, runs: Runs, outcomes: Outcomes) -> Future | None:
    """What need not be tried: the record of another process, or the failure of what it needs."""
    reasons = [own for each in job.needs if isinstance(own := outcomes[each.path], str)]
    failed = [f"{FAILED}it needs the encoder of another run: {reason}" for reason in reasons]
    known: Future = Future()
    known.set_result(failed[0] if failed else runs.record(job))
    return known if known.result() else None


def slurm(options: str, runs: Runs) -> Callable[[Job], Any]:
    """What submits a run to Slurm, by submitit; InputError if there is none. options: the partition
    and, after commas, options of sbatch as NAME=VALUE.
    """
    try:
        from submitit import SlurmExecutor  # an extra

        executor = SlurmExecutor(runs.folder / "slurm")
    except (ImportError, RuntimeError) as error:
        raise InputError(f"--slurm needs Slurm and `pip install submitit`: {error}") from error
    partition, *others = options.split(",")
    more = {"time": "1-0"} | dict(option.partition("=")[::2] for option in others)
    setup = [f"export PYTHONPATH='{PROJECT}'"]
    executor.update_parameters(partition=partition, setup=setup, additional_parameters=more)

    def submit(job: Job) -> Any:
        try:
            return executor.submit(replace(runs, at_once=1).make, job)
        except RuntimeError as error:
            raise InputError(f"--slurm {options}: {error}") from error

    return submit


def make_data(cells: Collection[Cell], raw: Path, data: Path, preprocess: Callable) -> None:
    """Simulated raw files for --quick, and windows by preprocess.py's function; made once."""
    for name in dict.fromkeys(cell.column.dataset for cell in cells):
        lengths = sorted({cell.column.length for cell in cells if cell.column.dataset == name})
        done = data / f".{name}.{'.'.join(map(str, lengths))}.done"
        with FileLock(data.with_name("data.lock")):  # another process may be at it
            if not done.is_file():
                simulate(name, raw, *SIMULATED[name])
                dataset = datasets.get(name)
                preprocess(dataset, find(dataset, raw), lengths, data, 0, "kinect")
                done.touch()


def overview(tables: Collection[str], work: Collection[Job], outcomes: Outcomes) -> list[str]:
    """Runs counted by table; the runs of one table alone; what is missing."""
    names = {type(None): "to run", dict: "done", str: "no data"}
    states = {path: names[type(outcome)] for path, outcome in outcomes.items()}
    lines = [f"{'table':20}" + "".join(f"{name:>10}" for name in names.values())]
    for table in tables:
        own = [states[job.path] for job in work if job.table == table] or ["to run"]
        lines.append(f"{table:20}" + "".join(f"{own.count(name):10}" for name in names.values()))
    for job in work if len(tables) == 1 else []:
        words = f"{job.column.name:7} seed {job.seed}  {job.row.command}"
        lines.append(f"{states[job.path]:8} {job.row.name:27} {words}"[:100])
    reasons = dict.fromkeys(shorten(text) for text in outcomes.values() if isinstance(text, str))
    if reasons:
        lines += [*reasons, "(where data come from: docs/1-data.md)"]
    return lines


def shorten(reason: str) -> str:
    """A reason without the places that were looked at."""
    return reason.partition(": looked in")[0]


@cache
def machine() -> str:
    """Processor and number of them, GPU if there is one, and PyTorch's version."""
    import torch

    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text() if info.is_file() else "")
    processor = model[1] if model else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor} x {os.cpu_count()}{gpu}, torch {torch.__version__}"
