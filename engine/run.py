"""A run: its folder, log, history, checkpoints and results."""

import copy
import glob
import math
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skeleton_reid.common import processes
from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import hold, write_whole
from skeleton_reid.common.log import log, log_to, start_log
from skeleton_reid.data.files import provenance
from skeleton_reid.engine import checkpoint, results
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.options import TrainingOptions


class Run:
    """Files of one run, in `folder`, their names with a prefix. Nothing is written before `open`.
    method, identity: what its checkpoints say, the same on --resume. notes: what else they say.
    """
    def __init__(self, method: str, options: TrainingOptions, folder: Path, prefix: str = ""):
        self.method, self.options, self.settings = method, options, options.settings
        self.folder, self.prefix = folder, prefix
        names = ("probe", "length", "protocol", "seed")
        self.identity = {"dataset": options.dataset.name}
        self.identity |= {name: getattr(options, name) for name in names}
        supervision = self.settings.supervision
        self.supervision = {"supervision": supervision} if supervision else {}
        self.notes = {"skeleton": options.dataset.skeleton.values(), **self.supervision}
        self.history: list[dict[str, Any]] = []
        self.started = time.time()
        self.saved = -math.inf  # when last.pt was written
        self.results = self.path("results.json")  # of the run, also in its phases
        self.record = self.path("run.json")
        self.data = provenance(options.dataset, options.length, options.data, options.view)
        self.at_the_end = ExitStack()  # releases the lock, closes TensorBoard's writers
        self.source: Any = None  # of frame features (features.Source); None: skeletons
        self.parts: Mapping[str, Any] = {}  # of the training, by name
        self.writer = None  # of TensorBoard's events
        needed = {"tensorboard": options.tensorboard, "faiss": options.search == "faiss"}
        for name in needed:
            if needed[name] and find_spec(name) is None:
                package = "faiss-cpu (for a GPU faiss-gpu)" if name == "faiss" else name
                raise InputError(f"expected a package more, found none: pip install {package}")

    @property
    def title(self) -> str:
        """Method, data and seed, as a line."""
        o, simulated = self.options, " (simulated)" * self.data["simulated"]
        supervision = self.settings.supervision
        words = f", supervision: {supervision}" if supervision else ""
        return (f"{self.method} on {o.dataset.name}{simulated}, {o.probe}, f = {o.length}, "
                f"seed {o.seed}, {o.protocol} protocol{words}")

    def open(self) -> None:
        """Begin to write. InputError if another process writes there, or --resume finds nothing."""
        if self.options.resume and not any(self.folder.rglob(f"{self.prefix}last.pt")):
            raise InputError(f"no checkpoint at {self.path('last.pt')}: leave out --resume")
        self.at_the_end.callback(hold(self.path("run.lock")).release)
        log_to(self.path("log.txt"))
        self.announce()

    def _write_record(self) -> None:
        """Write run.json: how this run is made, to make it again."""
        root, revision = Path(__file__).parent.parent, None
        if (root / ".git").exists() and shutil.which("git"):
            git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
            revision = subprocess.run(git, capture_output=True, text=True).stdout.strip()
        content = {"command": shlex.join(sys.argv), "method": self.method, **self.identity}
        content |= {"device": str(pick_device(self.options.device)), "data": self.data}
        content |= {"settings": asdict(self.settings), "python": platform.python_version()}
        content |= {"torch": torch.__version__, "numpy": np.__version__, "revision": revision}
        results.write_json(self.record, content)

    def announce(self) -> None:
        """Log what is run."""
        log.info(self.title)
        log.info("  ".join(f"{name} {value}" for name, value in asdict(self.settings).items()))

    def load_settings_from(self, path: Path) -> "Run":
        """This run with seed and settings of a saved model; --batch_size wins."""
        content, run = checkpoint.load(path, self.method), copy.copy(self)
        checkpoint.expect_windows(path, content, self.data)
        run.settings = settings_of(content)
        if "batch_size" in self.options.overrides:
            run.settings = replace(run.settings, batch_size=self.settings.batch_size)
        run.options = replace(self.options, seed=content["seed"], settings=run.settings)
        run.identity = self.identity | {"seed": content["seed"]}
        run.announce()
        return run

    def phase(self, name: str) -> "Run":
        """A phase in a subfolder. Its checkpoints name the task and not the probe: it has none."""
        phase = copy.copy(self)
        phase.folder, phase.history = self.folder / name, []
        identity = {key: value for key, value in self.identity.items() if key != "probe"}
        phase.identity = identity | {"task": self.options.task, "view": self.options.view}
        return phase

    def path(self, file: str) -> Path:
        """The path of one of the run's files."""
        return self.folder / f"{self.prefix}{file}"

    def save_best(self, model: nn.Module, epoch: int, metrics: Mapping[str, Any],
                  file: str = "best.pt", **content: Any) -> None:
        """Write a checkpoint from which the model can be rebuilt. content: what else it holds."""
        weights = {"model": model.state_dict(), "arguments": model.arguments}
        self._save(file, epoch=epoch, metrics=dict(metrics), **weights, **content)

    def save_last(self, epoch: int, parts: Mapping[str, Any], seconds: float = 0) -> None:
        """Write last.pt, the parts after some epochs, unless one is younger than some seconds."""
        if time.monotonic() - self.saved >= seconds:
            self.saved = time.monotonic()
            state = {name: checkpoint.state_of(part) for name, part in parts.items()}
            self._save("last.pt", epoch=epoch, state=state, history=self.history)

    def _save(self, file: str, **content: Any) -> None:
        header = {"method": self.method, "settings": asdict(self.settings), "data": self.data}
        checkpoint.save(self.path(file), header | self.identity | self.notes | content)

    def resume(self, parts: Mapping[str, Any], changeable: Collection[str] = ("patience",)) -> int:
        """The epochs done: 0, or with --resume those of last.pt, whose state `parts` get.
        InputError if there is none, or of other settings than the changeable ones.
        """
        self.parts = parts
        if not self.options.resume:
            self.archive_previous()
            return 0
        path = self.path("last.pt")
        content = checkpoint.load(path, self.method)
        processes.wait()  # until all have read it
        checkpoint.expect(path, content, self.identity)
        checkpoint.expect_windows(path, content, self.data)
        wanted = {n: v for n, v in asdict(self.settings).items() if n not in changeable}
        checkpoint.expect(path, asdict(settings_of(content)), wanted)
        if missing := parts.keys() - content["state"].keys():
            raise InputError(f"{path} lacks {', '.join(sorted(missing))}: leave out --resume")
        for name, part in parts.items():
            try:
                checkpoint.restore(part, content["state"][name])
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise checkpoint.other_version(path, content, f"{name}: {error}") from error
        self.history = content["history"]
        self._write_record()
        log.info(f"resumed after {content['epoch']} epochs")
        return content["epoch"]

    def archive_previous(self) -> None:
        """Rename what an earlier run has left to <name>.earlier: it is neither lost nor ours."""
        processes.wait()  # until all have seen what is there
        if processes.number() > 0:
            return
        mine = f"{glob.escape(self.prefix)}*"
        for unfinished in self.folder.glob(f".{mine}.tmp"):  # of a process killed while it wrote
            unfinished.unlink()
        files = [*self.folder.glob(f"{mine}.pt"), self.path("history.csv"), self.results]
        files = [file for file in files if file.is_file()]
        for file in files:
            file.replace(file.with_name(f"{file.name}.earlier"))
        shutil.rmtree(self.path("tensorboard"), ignore_errors=True)  # history.csv has it all
        self._write_record()
        if files:
            log.info(f"{self.folder}: the files of an earlier run are named *.earlier from now on")

    def end_epoch(self, epoch: int, metrics: Mapping, losses: Mapping[str, float], line: str,
                  seconds: Mapping[str, float], clusters: Sequence[np.ndarray] = ()) -> None:
        """Log an epoch, its metrics as `line`, and add it to history.csv. InputError for a loss
        that is not finite. clusters: labels (N,), -1 for noise.
        """
        total = {"total": losses["total"]} if "total" in losses else losses
        shown = "  ".join(filter(None, [line, *(f"{n} {x:.4g}" for n, x in total.items())]))
        log.info(f"epoch {epoch:3d}  {shown}  {sum(seconds.values()):.1f} s")
        for name, value in losses.items():
            if not math.isfinite(value):
                raise InputError(f"training diverged: {name} is {value}; try a smaller --lr")
        times = {f"s_{name}": round(value, 3) for name, value in seconds.items()}
        self.history.append({"epoch": epoch, **metrics, **losses, **times})
        results.write_csv(self.path("history.csv"), self.history)
        if self.options.tensorboard and processes.number() == 0:
            scalars = {"metrics": metrics, "losses": losses, "seconds": seconds}
            self._write_events(epoch, scalars, clusters)

    def _write_events(self, epoch: int, scalars: dict[str, Mapping[str, float]],
                      clusters: Sequence[np.ndarray]) -> None:
        """Add an epoch, its learning rates and its cluster sizes to TensorBoard's event file."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter  # here, because it is slow to load

            self.writer = SummaryWriter(self.path("tensorboard"), purge_step=epoch)
            self.at_the_end.callback(self.writer.close)
        optimizers = {name: getattr(part, "optimizer", part) for name, part in self.parts.items()}
        optimizers = {n: part for n, part in optimizers.items() if hasattr(part, "param_groups")}
        scalars["rates"] = {n: part.param_groups[0]["lr"] for n, part in optimizers.items()}
        for group, values in scalars.items():
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, epoch)
        for number, labels in enumerate(clusters, 1):
            sizes = np.bincount(labels[labels >= 0])
            if len(sizes):
                self.writer.add_histogram(f"cluster_sizes/{number}", sizes, epoch)
        self.writer.flush()

    def save_arrays(self) -> None:
        """Write every column of the history as an array file, NaN where an epoch has no value."""
        for name in dict.fromkeys(name for row in self.history for name in row):
            array = np.array([row.get(name, np.nan) for row in self.history], dtype=np.float64)
            write_whole(self.path("arrays") / f"{name}.npy", partial(np.save, arr=array))

    def write_results(self, content: Mapping[str, Any]) -> None:
        """Write the results as JSON: results.json of a training run, and --json."""
        header = {"kind": "retrieval", "method": self.method, **self.identity, **self.supervision}
        content = header | content | {"settings": asdict(self.settings), "data": self.data}
        content["seconds"] = round(time.time() - self.started, 1)
        for path in (self.results if self.options.mode == "Train" else None, self.options.json):
            if path is not None:
                results.write_json(path, content)


def execute(run: Run, train: Callable[..., None], evaluate: Callable[..., None],
            write_features: Callable[..., None]) -> None:
    """What the command line asks for: train or evaluate, then write features if that is wanted."""
    options, device = run.options, pick_device(run.options.device)
    if options.deterministic:
        torch.use_deterministic_algorithms(True)
    start_log(options.quiet)
    with run.at_the_end:
        (train if options.mode == "Train" else evaluate)(run, options, device)
        if options.save_features:
            processes.wait()  # until the model is written
            write_features(run, options, device)
