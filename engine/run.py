"""A run: what is trained on which data, and the folder of its files."""

import glob
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skeleton_reid.common import processes
from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import hold
from skeleton_reid.common.log import log, log_to, start_log
from skeleton_reid.data.files import provenance
from skeleton_reid.engine import checkpoint, results
from skeleton_reid.engine.methods import settings_of

TITLES = {
    "none": ", unsupervised", "tracklets": ", supervised by tracklets",
    "identities": ", supervised", None: ""
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What is trained on which data, and where its files lie. Nothing is written before `open`."""

    method: str
    options: Any  # of the command line, the method's settings among them
    folder: Path
    prefix: str = ""  # of the files' names
    source: Any = None  # of frame features (features.Source); None: skeletons
    parent: "Run | None" = None  # of a phase, whose folder lies in the parent's
    encoder_digest: str | None = None  # of the encoder that a recogniser is trained on
    started: float = field(default_factory=time.time)
    at_the_end: ExitStack = field(default_factory=ExitStack)  # releases the lock, closes writers

    @property
    def settings(self) -> Any:
        """The method's settings."""
        return self.options.settings

    @cached_property
    def data(self) -> dict[str, Any]:
        """What preprocess.py says of the windows."""
        o = self.options
        return provenance(o.dataset, o.length, o.data, o.view)

    @property
    def identity(self) -> dict[str, Any]:
        """What a run has in common with the one that it resumes. A phase has a task, no probe."""
        o, source = self.options, self.source
        identity = {"dataset": o.dataset.name, "length": o.length, "protocol": o.protocol}
        identity |= {"task": o.task} if self.parent else {"probe": o.probe}
        identity |= {"seed": o.seed, "supervision": self.settings.supervision, "view": o.view}
        identity |= {"source": source and source.name, "source_digest": source and source.digest}
        identity |= {"encoder_digest": self.encoder_digest}
        return {name: value for name, value in identity.items() if value is not None}

    @property
    def title(self) -> str:
        """Method, data, seed and supervision, as a line."""
        o = self.options
        simulated = " (simulated)" if self.data["simulated"] else ""
        protocol = ", released protocol" if o.protocol == "released" else ""
        return (f"{self.method}, {o.dataset.name}/{o.probe}{simulated}, f = {o.length}, "
                f"seed {o.seed}{protocol}{TITLES[self.settings.supervision]}")

    def path(self, file: str) -> Path:
        """The path of one of the run's files."""
        return self.folder / f"{self.prefix}{file}"

    def phase(self, name: str) -> "Run":
        """A phase of this run, in a subfolder."""
        return replace(self, folder=self.folder / name, parent=self)

    def with_settings_of(self, path: Path) -> "Run":
        """This run with seed and settings of a saved model; --batch_size wins."""
        content = checkpoint.load(path, self.method)
        checkpoint.expect_windows(path, content, self.data)
        settings = settings_of(content)
        if "batch_size" in self.options.overrides:
            settings = replace(settings, batch_size=self.settings.batch_size)
        run = replace(self, options=replace(self.options, seed=content["seed"], settings=settings))
        run.announce()
        return run

    def open(self) -> None:
        """Begin to write. InputError if another process writes there, or --resume finds nothing."""
        if self.options.resume and not any(self.folder.rglob(f"{self.prefix}last.pt")):
            raise InputError(f"no checkpoint at {self.path('last.pt')}: leave out --resume")
        self.at_the_end.callback(hold(self.path("run.lock")).release)
        log_to(self.path("log.txt"))
        self.announce()

    def announce(self) -> None:
        """Log what is run."""
        log.info(self.title)
        log.info("  ".join(f"{name} {value}" for name, value in asdict(self.settings).items()))

    def archive_previous(self) -> None:
        """Rename what an earlier run has left to <name>.earlier: it is neither lost nor ours."""
        processes.wait()  # until all have seen what is there
        if processes.number() > 0:
            return
        own = f"{glob.escape(self.prefix)}*"
        for unfinished in self.folder.glob(f".{own}.tmp"):  # of a process killed while it wrote
            unfinished.unlink()
        results_file = (self.parent or self).path("results.json")
        files = [*self.folder.glob(f"{own}.pt"), self.path("history.csv"), results_file]
        files = [file for file in files if file.is_file()]
        for file in files:
            file.replace(file.with_name(f"{file.name}.earlier"))
        shutil.rmtree(self.path("tensorboard"), ignore_errors=True)  # history.csv has it all
        if files:
            log.info(f"{self.folder}: the files of an earlier run are named *.earlier from now on")

    def write_record(self) -> None:
        """Write run.json: how this run is made, to make it again."""
        root, revision, run = Path(__file__).parent.parent, None, self.parent or self
        if (root / ".git").exists() and shutil.which("git"):
            git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
            revision = subprocess.run(git, capture_output=True, text=True).stdout.strip()
        content = {"command": shlex.join(sys.argv), "method": self.method, **run.identity}
        content |= {"device": str(pick_device(self.options.device)), "data": self.data}
        content |= {"settings": asdict(self.settings), "python": platform.python_version()}
        content |= {"torch": torch.__version__, "numpy": np.__version__, "revision": revision}
        results.write_json(run.path("run.json"), content)

    def save(self, file: str, **content: Any) -> None:
        """Write a checkpoint that says what the run is."""
        header = {"method": self.method, "settings": asdict(self.settings), "data": self.data}
        header["skeleton"] = self.options.dataset.skeleton.values()
        if self.source:
            header["source_file"] = str(self.source.file)
        checkpoint.save(self.path(file), header | self.identity | content)

    def save_model(self, model: nn.Module, epoch: int, metrics: Mapping[str, Any],
                   file: str = "best.pt", **content: Any) -> None:
        """Write a checkpoint from which the model can be rebuilt. content: what else it holds."""
        self.save(file, epoch=epoch, metrics=dict(metrics), model=model.state_dict(),
                  arguments=model.arguments, **content)

    def write_results(self, content: Mapping[str, Any]) -> None:
        """Write the results as JSON: results.json of a training run, and --json."""
        header = {"kind": "retrieval", "method": self.method, **self.identity}
        content = header | content | {"settings": asdict(self.settings), "data": self.data}
        content["seconds"] = round(time.time() - self.started, 1)
        if self.options.mode == "Train":
            results.write_json(self.path("results.json"), content)
        if self.options.json is not None:
            results.write_json(self.options.json, content)


def execute(run: Run, train: Callable[..., None], evaluate: Callable[..., None],
            write_features: Callable[..., None]) -> None:
    """What the command line asks for: train or evaluate, then write features if that is wanted."""
    options, device = run.options, pick_device(run.options.device)
    if options.deterministic:
        torch.use_deterministic_algorithms(True)
    start_log(options.quiet)
    with run.at_the_end:
        if options.mode == "Train":
            train(run, options, device)
        else:
            evaluate(run, options, device)
        if options.save_features:
            processes.wait()  # until the model is written
            write_features(run, options, device)
