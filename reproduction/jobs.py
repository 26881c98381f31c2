"""Runs of the experiments: what is done, what is missing, and how a run is started, gone on with
and kept.

Files of a run, in its folder: what the script leaves there, <name>.started.json (its key, and the
seconds spent so far) and, once it is done, <name>.json with key, result, seconds and machine. It
counts as done if the key is the one wanted.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import InputError
from data import datasets, provenance
from data.layouts import locate
from data.raw.formats import RAW
from engine.results import write_json
from engine.settings import choose
from reproduction.experiments import Job

PROJECT = Path(__file__).resolve().parent.parent
SOURCES = (
    "models/*.py",
    "data/*.py",
    "reid/**/*.py",
)  # whose change makes "another state of the code"
NOT_SOURCES = ("reproduce.py", "experiments.py", "execution.py", "comparison.py", "sizes.py")
# Network sizes of --quick, by script.
SMALL = {
    "train_simmc.py": ("--H", "32"),
    "train_age.py": ("--hidden", "16"),
    "train_smsge.py": ("--D_h", "16", "--P", "2"),
}
PATIENCE_ENDED = "no better"  # how a run of SimMC says that it was not cut short


@dataclass(frozen=True)
class Place:
    """Where to run: data, root of all runs, folder of runs by hand, and the options for every
    script.

    small: with networks of the sizes SMALL, so that everything runs in little time.
    """

    data: Path
    runs: Path
    models: Path
    device: str = "auto"
    epochs: int | None = None
    quiet: bool = False
    small: bool = False


def words_of(job: Job, place: Place) -> list[str]:
    """The script's arguments but for data, files, device and source."""
    return [*job.words, *(SMALL.get(job.row.script, ()) if place.small else ())]


def key_of(job: Job, place: Place) -> dict[str, Any]:
    """What decides a run's figures: command, cap of epochs, data, and the same of the runs that it
    builds on.
    """
    column = job.column
    found = {
        "script": job.row.script,
        "words": words_of(job, place),
        "epochs": place.epochs if job.row.trained else None,
        "data": provenance.describe(column.dataset, column.length, place.data, column.view),
    }
    return found | ({"needs": [key_of(needed, place) for needed in job.needs]} if job.needs else {})


def finished(job: Job, place: Place) -> dict[str, Any] | None:
    """The record of a run that is done, or of one by hand that has the same settings; None if there
    is none.
    """
    path = _file(job, place, ".json")
    record = _read(path)
    if record and record.get("key") == key_of(job, place):
        return record
    return _by_hand(job, place)


def missing(job: Job, place: Place) -> str | None:
    """Why a run cannot be: where its data were looked for, and how they can be had. None if it
    can.
    """
    column, row = job.column, datasets.get(job.column.dataset)
    tests = ["test"] if column.view is not None else list(dict.fromkeys(row.pair(column.probe)))
    try:
        locate(
            row,
            ["train", *tests],
            column.length,
            place.data,
            column.view,
            optional=tuple(tests[1:]),
        )
    except InputError as error:
        return f"{error}; the real data come from {RAW[row.name].source}, their terms: docs/DATA.md"
    return None


def perform(job: Job, place: Place) -> dict[str, Any]:
    """Run a job, or go on with it, and keep its record.

    Raises InputError with the reason, in one line, if the script fails, and KeyboardInterrupt if it
    is interrupted; its state is then saved.
    """
    key, record = key_of(job, place), _file(job, place, ".json")
    begin_file, result = _file(job, place, ".started.json"), _file(job, place, ".result.json")
    begun = _read(begin_file) or {}
    again = (_read(record) or {}).get("key") == key  # it is done, and wanted anew
    resume = begun.get("key") == key and not again
    if not resume and all(needed.folder != job.folder for needed in job.needs):
        shutil.rmtree(record.parent, ignore_errors=True)  # another run's, of other settings or data
    for needed in job.needs:
        _fetch_encoder(needed, place)
    seconds, start = begun.get("seconds", 0.0) * resume, time.time()
    write_json(begin_file, {"key": key, "seconds": seconds})
    try:
        _call(command(job, place, resume), place.quiet)
    finally:
        seconds = round(seconds + time.time() - start, 1)
        write_json(begin_file, {"key": key, "seconds": seconds})
    made_by = {"code": code_state(), "machine": machine(), "device": place.device}
    content = {
        "key": key,
        "seconds": seconds,
        "made_by": made_by,
        "result": json.loads(result.read_text()),
    }
    write_json(record, content)
    return content


def _fetch_encoder(job: Job, place: Place) -> None:
    """Copy the encoder of a run by hand to where the runs that use it look for it."""
    if job.row.encoder is None:
        return
    folder = job.place(job.row.encoder).parent
    if not (place.runs / job.folder / folder).exists() and (place.models / folder).exists():
        shutil.copytree(place.models / folder, place.runs / job.folder / folder)


def command(job: Job, place: Place, resume: bool = False) -> list[str]:
    """The command line of a job. resume: go on where its files lie, if it has left any to go on
    from.
    """
    folder = place.runs / job.folder
    words = [sys.executable, str(PROJECT / job.row.script), *words_of(job, place)]
    words += ["--data", str(place.data), "--device", place.device]
    words += ["--json", str(_file(job, place, ".result.json"))]
    if job.source is not None:
        encoder = place.runs / job.source.folder / job.source.place(job.source.row.encoder)
        words = [str(encoder) if word == "{source}" else word for word in words]
    if job.row.script.startswith("train_"):
        words += ["--out", str(folder)]
        if resume and "--resume" not in words and any(folder.rglob("*last.pt")):
            words.append("--resume")
    if place.epochs and job.row.trained:
        words += ["--epochs", str(place.epochs)]
    return words + ["--quiet"] * place.quiet


def _call(words: list[str], quiet: bool) -> None:
    """Run a command to its end; an interruption waits until it has saved its state."""
    silent = subprocess.DEVNULL if quiet else None
    child = subprocess.Popen(
        words, stdout=silent, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    try:
        _, errors = child.communicate()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        child.communicate()
        raise
    if child.returncode in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    lines = [line for line in errors.splitlines() if line.strip()]
    if child.returncode:
        reason = lines[-1] if lines else f"exit code {child.returncode}"
        raise InputError(reason.removeprefix("error: "))
    print(*lines, sep="\n", end="\n" * bool(lines), file=sys.stderr)  # warnings


def _file(job: Job, place: Place, suffix: str) -> Path:
    return place.runs / job.folder / f"{job.name}{suffix}"


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON file's content; None if there is none that can be read, so that the run is made
    again.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _by_hand(job: Job, place: Place) -> dict[str, Any] | None:
    """A finished run that somebody made with a training script, if its settings and data are those
    of the job.
    """
    if job.row.home is None or place.epochs or not job.row.trained:
        return None
    path = place.models / job.place(job.row.home)
    result = _read(path)
    if result is None:
        return None
    column = job.column
    wanted = {
        "dataset": column.dataset,
        "length": column.length,
        "seed": job.seed,
        "protocol": "full",
        "settings": json.loads(json.dumps(published_settings(job))),
        "data": provenance.describe(column.dataset, column.length, place.data, column.view),
    }
    if not job.row.of_dataset:
        wanted["probe"] = column.probe
    same = all(result.get(name) == value for name, value in wanted.items())
    if not same or not result.get("stopped", PATIENCE_ENDED).startswith(PATIENCE_ENDED):
        return None
    return {
        "key": None,
        "seconds": result["seconds"],
        "made_by": {"file": str(path)},
        "result": result,
    }


def published_settings(job: Job) -> dict[str, Any]:
    """The settings that the script of a job resolves for it."""
    words = dict(zip(job.row.words[::2], job.row.words[1::2], strict=True))
    given = {name.removeprefix("--"): value for name, value in words.items()}
    return choose(job.row.method, "full", job.column.dataset, job.column.probe, given)


@cache
def code_state() -> str:
    """A digest of the code that figures depend on."""
    digest = hashlib.sha256()
    paths = sorted(path for pattern in SOURCES for path in PROJECT.glob(pattern))
    for path in [*sorted(PROJECT.glob("*.py")), *paths]:
        if path.name not in NOT_SOURCES:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def machine() -> str:
    """Processor, number of processors, and GPU if there is one."""
    import torch  # here, so that listing what there is to do starts at once

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor()} x {os.cpu_count()}{gpu}, torch {torch.__version__}"


def processor() -> str:
    """The processor's name, as the system gives it."""
    name = platform.processor() or platform.machine()
    if not Path("/proc/cpuinfo").is_file():
        return name
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name
    )
