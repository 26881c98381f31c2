"""A run: what is trained on which data, and the folder of its files."""

import json
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
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
from skeleton_reid.engine.options import PhaseOptions

ROOT = Path(__file__).parent.parent
# Settings that --mode Eval takes and that a saved model may have had otherwise.
NOT_OF_THE_MODEL = {"batch_size", "patience", "pre_epochs", "recognition_epochs"}
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

    @property
    def in_phases(self) -> bool:
        """Whether the model is an encoder that a phase trains without labels."""
        o = self.options
        labelled = o.task == "retrieval" and self.settings.supervision
        return isinstance(o, PhaseOptions) and not labelled

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
        given = self.options.overrides.keys() & vars(settings).keys() - NOT_OF_THE_MODEL
        checkpoint.expect(path, vars(settings), {n: getattr(self.settings, n) for n in given})
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
        """Log what is run; warn if released code had other data."""
        log.info(f"{self.title}, in {self.folder}")
        o, order, wanted = self.options, self.data.get("joint_order"), self.settings.released_order
        if o.protocol == "released" and o.dataset.name == "KGBD" and order not in (None, wanted):
            log.warning(f"expected KGBD in the joint order of the released code, {wanted}, found "
                        f"{order}: preprocess.py --joint_order {wanted}")
        log.info("  ".join(f"{name} {value}" for name, value in asdict(self.settings).items()))

    def archive_previous(self) -> None:
        """Rename what an earlier run has left to <name>.earlier: it is neither lost nor ours."""
        processes.wait()  # until all have seen what is there
        if processes.number() > 0:
            return
        results_file = (self.parent or self).path("results.json")
        files = [*self.folder.glob(f"{self.prefix}*.pt"), self.path("history.csv"), results_file]
        if results_file.is_file():
            files.append((self.parent or self).path("run.json"))
        files = [file for file in files if file.is_file()]
        names = ("earlier" if n == 1 else f"earlier-{n}" for n in count(1))
        kept = next(n for n in names if not any(Path(f"{file}.{n}").exists() for file in files))
        for file in files:
            file.replace(f"{file}.{kept}")
        shutil.rmtree(self.path("tensorboard"), ignore_errors=True)  # history.csv has it all
        if files:
            log.warning(f"{self.folder}: the files of an earlier run are now named *.{kept}")

    def write_record(self) -> None:
        """Write run.json: how this run is made, to make it again."""
        o, run, code = self.options, self.parent or self, code_version(ROOT)
        if o.resume:
            with suppress(OSError, ValueError):
                before = json.loads(run.path("run.json").read_text())
                begun = {key: before[key] for key in ("revision", "changes") if key in before}
                if code and begun != code:
                    log.warning("resumed with other code than before: run.json has both")
                    before.setdefault("begun_with", begun)
                code |= {key: before[key] for key in ("begun_with",) if key in before}
        content = {"command": shlex.join(sys.argv), "date": time.strftime("%Y-%m-%d %H:%M")}
        content |= {"name": o.name, "method": self.method, **run.identity, "epoch_limit": o.epochs}
        content |= {"device": str(pick_device(o.device)), "data": self.data, **code}
        content |= {"settings": asdict(self.settings), "python": platform.python_version()}
        content |= {"torch": torch.__version__, "numpy": np.__version__}
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
        header |= {"name": self.options.name} if self.options.name else {}
        content = header | content | {"settings": asdict(self.settings), "data": self.data}
        content["seconds"] = round(time.time() - self.started, 1)
        if self.options.mode == "Train":
            results.write_json(self.path("results.json"), content)
        if self.options.json is not None:
            results.write_json(self.options.json, content)


def code_version(root: Path) -> dict[str, Any]:
    """Git's revision of the project in `root`, and a digest of changes to its Python files and of
    those that git does not know, such as a copied script; {} outside a checkout.
    """
    if not (root / ".git").exists() or not shutil.which("git"):
        return {}
    git = partial(subprocess.check_output, cwd=root, stderr=subprocess.DEVNULL)
    revision = git(["git", "describe", "--always", "--dirty", "--abbrev=40"]).decode().strip()
    changes = git(["git", "diff", "HEAD", "--", "*.py"])
    unknown = git(["git", "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py"])
    for name in filter(None, unknown.split(b"\0")):
        changes += name + (root / os.fsdecode(name)).read_bytes()
    return {"revision": revision} | ({"changes": f"{zlib.crc32(changes):08x}"} if changes else {})


def execute(run: Run, train: Callable[..., None], evaluate: Callable[..., None],
            write_features: Callable[..., None]) -> None:
    """What the command line asks for, for each seed: train or evaluate, then write features."""
    options, device = run.options, pick_device(run.options.device)
    if options.deterministic:
        torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)  # as TensorFlow does; products with them are many times slower
    for seed in options.seeds or [options.seed]:
        own = of_seed(run, seed)
        start_log(options.quiet)
        random.seed(seed)  # the methods have generators of their own; these are for added layers
        np.random.seed(seed)
        torch.manual_seed(seed)
        with own.at_the_end:
            if options.mode == "Train":
                train(own, own.options, device)
            else:
                evaluate(own, own.options, device)
            if options.save_features:
                processes.wait()  # until the model is written
                write_features(own, own.options, device)
    if options.seeds and processes.number() == 0:
        print(f"mean and standard deviation: python compare.py {run.folder}")


def of_seed(run: Run, seed: int) -> Run:
    """The run with a seed, in its folder, or in seed-N/ below if that has a run of another seed.
    Of several --seeds each has files of its own, and with --resume those begin that have not.
    """
    options, several = replace(run.options, seed=seed, seeds=None), bool(run.options.seeds)
    with suppress(OSError, ValueError, KeyError):
        other = json.loads(run.path("run.json").read_text())["seed"]
        own = replace(run, folder=run.folder / f"seed-{seed}")
        anew = several or (options.mode == "Train" and not options.resume)
        if other != seed and (anew or own.path("run.json").is_file()):
            run = own
    if several:
        options = replace(options, resume=options.resume and run.path("run.json").is_file())
        files = {name: getattr(options, name) for name in ("json", "save_features")}
        files = {n: file.with_stem(f"{file.stem}-seed-{seed}") for n, file in files.items() if file}
        options = replace(options, **files)
    at_the_end = ExitStack()
    if options.search_eps:  # no run is displaced, and nothing is left
        run = replace(run, folder=Path(at_the_end.enter_context(TemporaryDirectory())))
    return replace(run, options=options, started=time.time(), at_the_end=at_the_end)
