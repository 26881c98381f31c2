"""Runs of the experiments: what is done, what is missing, and how a run is made and kept: in a
record, <name>.json in its folder, with key, seconds, machine and, once done, the script's result.
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import InputError
from data import datasets
from data.files import provenance
from data.layouts import locate
from data.raw.formats import RAW, find
from data.simulate import simulate
from engine.results import write_json
from reproduction.experiments import Cell, Job

PROJECT = Path(__file__).resolve().parent.parent
FAILED = "failed: "
Record = dict[str, Any]
Outcome = Record | str | None  # done, why it cannot be or has failed, or not yet
Outcomes = dict[Path, Outcome]  # by the path of the run

# --quick: persons, frames, recordings; windows for a batch of 256 in every training set.
SIMULATED = {"BIWI": (6, 60, 1), "IAS": (5, 50, 1), "KGBD": (6, 50, 4), "KS20": (5, 20, 5)}
SIMULATED["CASIA_B"] = (8, 80, 1)
SMALL = {"train_simmc.py": ["--H", "32"], "train_age.py": ["--hidden", "16"]}
SMALL["train_smsge.py"] = ["--D_h", "16", "--P", "2"]


@dataclass(frozen=True)
class Runs:
    """Where and how runs are made."""

    data: Path
    folder: Path  # of all runs
    device: str = "auto"
    epochs: int | None = None  # a cap for every run
    quiet: bool = False
    small: bool = False  # tiny networks

    def key(self, job: Job) -> Record:
        """What decides a run's figures: command, cap of epochs, data, and those of its encoders."""
        row, column = job.row, job.column
        key = {"script": row.script, "words": self._words(job)}
        key["epochs"] = self.epochs if row.trained else None
        key["data"] = provenance(column.dataset, column.length, self.data, column.view)
        return key | ({"needs": [self.key(each) for each in job.needs]} if job.needs else {})

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

    def make(self, job: Job) -> Record:
        """Run a job, or go on with it, and keep its record; InputError if the script fails."""
        begun, key = self._read(job), self.key(job)
        resume = begun.get("key") == key
        if not resume and all(needed.folder != job.folder for needed in job.needs):
            shutil.rmtree(self.folder / job.folder, ignore_errors=True)  # other settings or data
        record = {"key": key, "seconds": begun["seconds"] if resume else 0.0}
        record["made_by"] = {"machine": machine(), "device": self.device}
        start = time.time() - record["seconds"]
        write_json(self._file(job), record)
        try:
            _call(self.command(job, resume), self.quiet)
            record["result"] = json.loads(self._file(job, ".result.json").read_text())
        finally:
            record["seconds"] = round(time.time() - start, 1)
            write_json(self._file(job), record)
        return record

    def command(self, job: Job, resume: bool = False) -> list[str]:
        """The command line of a job. resume: go on, if there are files to go on from."""
        folder, words = self.folder / job.folder, self._words(job)
        words += ["--data", str(self.data), "--device", self.device]
        words += ["--json", str(self._file(job, ".result.json"))]
        if job.row.source:
            encoders = (self.folder / job.needs[0].folder).rglob("encoder/best.pt")
            words[words.index("{source}")] = str(next(encoders, "encoder/best.pt"))
        if job.row.script.startswith("train_"):
            begun = resume and any(folder.rglob("*last.pt"))
            words += ["--out", str(folder)] + ["--resume"] * (begun and "--resume" not in words)
        words += ["--epochs", str(self.epochs)] * bool(self.epochs and job.row.trained)
        words += ["--quiet"] * self.quiet
        return [sys.executable, str(PROJECT / job.row.script), *words]

    def _words(self, job: Job) -> list[str]:
        return job.words + SMALL.get(job.row.script, []) * self.small

    def _file(self, job: Job, suffix: str = ".json") -> Path:
        return self.folder / f"{job.path}{suffix}"

    def _read(self, job: Job) -> Record:
        """The record of a run; {} if it cannot be read, so that the run is made again."""
        try:
            return json.loads(self._file(job).read_text())
        except (OSError, ValueError):
            return {}


def make_all(work: Collection[Job], runs: Runs, outcomes: Outcomes,
             after_each: Callable[[], None]) -> None:
    """Make the runs that have no outcome yet: their records, or why they failed."""
    left = [job for job in work if outcomes[job.path] is None]
    for number, job in enumerate(left, start=1):
        title = f"{job.table}, {job.row.name}, {job.column.name}, seed {job.seed}"
        print(f"[{number}/{len(left)}] {title}", flush=True)
        try:
            for needed in job.needs:
                if isinstance(reason := outcomes[needed.path], str):
                    raise InputError(f"it needs the encoder of another run: {reason}")
            outcomes[job.path] = runs.make(job)
        except InputError as error:
            outcomes[job.path] = f"{FAILED}{error}"
            print(f"    {FAILED}{error}", flush=True)
        after_each()


def make_data(cells: Collection[Cell], raw: Path, data: Path, preprocess: Callable) -> None:
    """Simulated raw files for --quick, and windows by preprocess.py's function; made once."""
    for name in dict.fromkeys(cell.column.dataset for cell in cells):
        lengths = sorted({cell.column.length for cell in cells if cell.column.dataset == name})
        done = data / f".{name}.{'.'.join(map(str, lengths))}.done"
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
        words = f"{job.column.name:7} seed {job.seed}  {job.row.script} {job.row.options}"
        lines.append(f"{states[job.path]:8} {job.row.name:27} {words}"[:100])
    reasons = dict.fromkeys(shorten(text) for text in outcomes.values() if isinstance(text, str))
    return [*lines, *reasons, *["(where data come from: docs/1-data.md)"] * bool(reasons)]


def shorten(reason: str) -> str:
    """A reason without the places that were looked at."""
    return reason.partition(": looked in")[0]


def _call(words: list[str], quiet: bool) -> None:
    """Run a command to its end; an interruption waits until it has saved its state."""
    silent = subprocess.DEVNULL if quiet else None
    child = subprocess.Popen(words, stdout=silent, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = child.communicate()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        child.communicate()
        raise
    if child.returncode in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    lines = list(filter(str.strip, errors.splitlines()))
    if child.returncode:
        reason = [f"exit code {child.returncode}", *lines][-1]
        raise InputError(reason.removeprefix("error: "))
    print(*lines, sep="\n", end="\n" * bool(lines), file=sys.stderr)  # warnings


@cache
def machine() -> str:
    """Processor and number of them, GPU if there is one, and PyTorch's version."""
    import torch  # here, so that --list starts at once

    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text() if info.is_file() else "")
    processor = model[1] if model else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor} x {os.cpu_count()}{gpu}, torch {torch.__version__}"
