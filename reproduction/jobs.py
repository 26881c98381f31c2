"""Runs of the experiments: what is done, what is missing, and how a run is made and kept."""

import json
import os
import platform
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import msgspec
from filelock import FileLock

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.data.files import provenance
from skeleton_reid.data.layouts import locate
from skeleton_reid.engine.results import write_json
from skeleton_reid.reproduction.experiments import SMALL, Job

PROJECT = Path(__file__).resolve().parent.parent
FAILED = "failed: "
Record = dict[str, Any]  # with a result if the run is done; {} if there is none
Outcomes = dict[Path, Record | str]  # by the folder of the run: or why it cannot be or has failed


class Runs(msgspec.Struct, frozen=True):
    """Where and how runs are made."""

    data: Path
    folder: Path  # of all runs
    devices: list[str]  # that are free: one, or a share of one, for each run at once
    quiet: bool = False
    at_once: int = 1
    srun: list[str] = []  # Slurm's command that makes a run a job
    children: list[Popen] = []  # under way

    def key(self, job: Job) -> Record:
        """What decides a run's figures: command, data and encoder. InputError without data."""
        own, needs = job.column, [self.key(each) for each in job.needs]
        row = datasets.get(own.dataset)
        tests = row.pair(own.probe) if own.view is None else ("test",)
        locate(row, ["train", *tests], own.length, self.data, own.view, optional=tests[1:])
        data = provenance(row, own.length, self.data, own.view)
        return {"script": job.row.script, "words": job.words, "data": data, "needs": needs}

    def record(self, job: Job) -> Record | str:
        """The record of a run of the job's key, or why it cannot be run."""
        try:
            key = self.key(job)
            record = json.loads((self.folder / job.folder / "record.json").read_text())
            return record if record.get("key") == key else {}
        except InputError as error:
            return f"{str(error).partition(': looked in')[0]} (docs/01-data.md)"
        except (OSError, ValueError):
            return {}

    def make(self, job: Job) -> Record | str:
        """Run a job to its end, or go on with it, after the one that it needs: its record, or why
        it failed. What another process makes is waited for, and counts.
        """
        for needed in job.needs:
            if isinstance(reason := self.make(needed), str):
                return reason
        with FileLock(self.folder / f"{job.folder}.lock"):
            record = self.record(job)
            if state(record) != "to run":
                return record
            device = self.devices.pop(0)
            try:
                return self._run(job, record, device)
            finally:
                self.devices.append(device)

    def _run(self, job: Job, begun: Record, device: str) -> Record | str:
        """The record of a job that is run on a device, or why it failed."""
        import torch  # here, so that --list starts at once

        folder = self.folder / job.folder
        if not begun:
            shutil.rmtree(folder, ignore_errors=True)  # of another command or other data
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
        machine = f"{' '.join(self.srun) or gpu}, torch {torch.__version__}"
        record = {"key": self.key(job), "seconds": begun.get("seconds", 0.0)}
        record["made_by"] = {"machine": machine, "device": device}
        write_json(folder / "record.json", record)
        print(f"    {job.folder}", flush=True)
        start = time.time() - record["seconds"]
        threads = str(torch.get_num_threads() // self.at_once or 1)
        shared = os.environ | {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
        child = Popen([*self.command(job, begun != {}), "--device", device], text=True,
                      env=None if self.srun else shared, stderr=PIPE,
                      stdout=DEVNULL if self.quiet else None)
        self.children.append(child)
        errors = child.communicate()[1]
        self.children.remove(child)
        record["seconds"] = round(time.time() - start, 1)
        if not child.returncode:
            record["result"] = json.loads((folder / "result.json").read_text())
        write_json(folder / "record.json", record)
        if child.returncode in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        print(errors, end="", file=sys.stderr)  # warnings, or a traceback
        if child.returncode:
            reason = (errors.strip() or f"exit code {child.returncode}").splitlines()[-1]
            return FAILED + reason.removeprefix("error: ")
        return record

    def command(self, job: Job, resume: bool = False) -> list[str]:
        """The command line of a job. resume: go on, if there are files to go on from."""
        words, encoders = job.words, [self.folder / each.folder for each in job.needs]
        folder = encoders[0] if job.row.again and encoders else self.folder / job.folder
        if job.row.source:
            found = encoders[0].rglob("encoder/best.pt")
            words[words.index("{source}")] = str(next(found, "encoder/best.pt"))
        words += ["--data", str(self.data), "--json", str(self.folder / job.folder / "result.json")]
        if job.row.script in SMALL:
            words += ["--out", str(folder)]
            words += ["--resume"] if resume and any(folder.rglob("*last.pt")) else []
        words += ["--quiet"] if self.quiet else []
        return [*self.srun, sys.executable, str(PROJECT / job.row.script), *words]


def make_all(work: list[Job], runs: Runs, outcomes: Outcomes, after_each: Callable) -> None:
    """Make the runs that have no outcome yet: their records, or why they failed."""
    left = [job for job in work if state(outcomes[job.folder]) == "to run"]
    left.sort(key=lambda job: len(job.needs))  # last, those that would wait for others
    pool = ThreadPoolExecutor(runs.at_once)
    futures = {pool.submit(runs.make, job): job for job in left}
    try:
        for number, future in enumerate(as_completed(futures), start=1):
            job, outcome = futures[future], future.result()
            outcomes[job.folder] = outcome
            reason = outcome if isinstance(outcome, str) else "done"
            print(f"[{number}/{len(left)}] {job.folder}: {reason}", flush=True)
            after_each()
    finally:  # after an interruption every run saves its state
        pool.shutdown(wait=False, cancel_futures=True)
        for child in runs.children:
            child.send_signal(signal.SIGINT)


def state(outcome: Record | str) -> str:
    """That of a run, in words."""
    return "no data" if isinstance(outcome, str) else "done" if "result" in outcome else "to run"


def overview(tables: Collection[str], work: Collection[Job], outcomes: Outcomes) -> list[str]:
    """Runs counted by table; the runs of one table alone; what is missing."""
    states, lines = {job: state(outcomes[job.folder]) for job in work}, []
    for table in tables:
        counts = Counter(own for job, own in states.items() if job.table == table)
        counts |= {"to run": 1} if table == "sizes" else {}  # which needs no runs
        if counts:
            lines.append(f"{table:20}" + ", ".join(f"{n} {own}" for own, n in counts.items()))
    if len(tables) == 1:
        lines += [f"{states[job]:8} {job.folder}  {job.row.options}"[:100] for job in work]
    return [*lines, *dict.fromkeys(text for text in outcomes.values() if isinstance(text, str))]
