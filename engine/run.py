"""A run: its folder, its log, its history, its best and its resumable state."""

import argparse
import copy
import glob
import hashlib
import math
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from common import command_line
from common.command_line import log
from common.errors import InputError
from data import provenance
from engine import checkpoint, lock, results

LOSSES = (
    "loss",
    "rec",
    "loc",
    "MPC",
    "MIC",
)  # beginnings of the columns of the history that hold losses


class Best:
    """The epoch with the best figure, and how long ago it was; epoch 0, the untrained model, does
    not count.

    figure: the key that is compared, larger is better. patience: epochs without a better one that
    end a run.
    """

    def __init__(self, patience: int, figure: str = "top1"):
        self.patience, self.figure = patience, figure
        self.figures: dict[str, Any] = {}
        self.waited = 0

    def update(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """Take the figures of an epoch. Returns whether they are the new best."""
        if epoch == 0:
            return False
        if self.figures and figures[self.figure] <= self.figures[self.figure]:
            self.waited += 1
            return False
        self.figures, self.waited = {**figures, "epoch": epoch}, 0
        return True

    @property
    def exhausted(self) -> bool:
        """Whether the best is `patience` epochs old."""
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"figures": self.figures, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.figures, self.waited = dict(state["figures"]), state["waited"]


class Run:
    """Files of one training or evaluation run.

    method: its name in checkpoints. args: the command line. settings: the resolved settings of the
    method. name: the probe or split; names with a dot (CASIA_B's probe types) become a prefix of
    the file names, as published. folder: where the files go, where that is not
    <out>/<dataset>/<name>.

    A training run keeps others out of its files while `lock` is open. Raises InputError if another
    one does.
    """

    def __init__(
        self,
        method: str,
        args: argparse.Namespace,
        settings: dict[str, Any],
        name: str,
        folder: Path | None = None,
    ):
        self.method, self.args, self.settings, self.name = method, args, settings, name
        parent = Path(args.out) / args.dataset
        self.folder, self.prefix = (parent, f"{name}_") if "." in name else (parent / name, "")
        if folder is not None:
            self.folder, self.prefix = folder, ""
        self.history: list[dict[str, Any]] = []
        self.notes: dict[str, Any] = {}  # what else its checkpoints say; may differ on --resume
        self.started = time.time()
        self.saved = -math.inf  # when last.pt was written
        self.identity = {
            "dataset": args.dataset,
            "probe": name,
            "length": args.length,
            "protocol": args.protocol,
            "seed": args.seed,
        }
        self.results = self.path("results.json")
        self.data = provenance.describe(
            args.dataset, args.length, args.data, getattr(args, "view", None)
        )
        training = args.mode == "Train"
        self.lock: AbstractContextManager = (
            lock.hold(self.path("run.lock")) if training else nullcontext()
        )
        command_line.start_log(args.quiet, self.path("log.txt") if training else None)
        if training:
            self._announce()

    def _announce(self) -> None:
        log.info(self.title)
        log.info(command_line.describe(self.settings))

    @property
    def title(self) -> str:
        """Method, data and seed, as a line."""
        simulated = " (simulated)" if self.data["simulated"] else ""
        data_set = f"{self.args.dataset}{simulated}, {self.name}, f = {self.args.length}"
        seed, protocol = self.identity["seed"], self.args.protocol
        return f"{self.method} on {data_set}, seed {seed}, {protocol} protocol"

    def adopt(self, path: Path) -> None:
        """Take over the seed and the settings that the saved model at `path` was made with (--mode
        Eval).

        A --batch_size of the command line wins: what the released protocol evaluates depends on it.
        """
        content = checkpoint.load(path, self.method)
        self.identity["seed"], self.settings = content["seed"], dict(content["settings"])
        if self.args.batch_size is not None:
            self.settings["batch_size"] = self.args.batch_size
        self._announce()

    def part(self, name: str, **identity: Any) -> "Run":
        """One phase of this run: the same log, but files and a history of its own, in the subfolder
        `name`.

        identity: what its checkpoints say of themselves instead of the probe, which does not enter
        the training.
        """
        phase = copy.copy(self)
        phase.folder, phase.history = self.folder / name, []
        phase.identity = {
            key: value for key, value in self.identity.items() if key != "probe"
        } | identity
        return phase

    def path(self, file: str) -> Path:
        """The path of one of the run's files."""
        return self.folder / f"{self.prefix}{file}"

    def save_best(
        self,
        model: nn.Module,
        epoch: int,
        figures: Mapping[str, Any],
        file: str = "best.pt",
        **content: Any,
    ) -> None:
        """Write best.pt, from which the model can be rebuilt without flags. content: what else it
        holds.
        """
        weights = {"model": model.state_dict(), "arguments": model.arguments}
        self._save(file, epoch=epoch, figures=dict(figures), **weights, **content)

    def save_last(self, epoch: int, parts: Mapping[str, Any], seconds: float = 0) -> None:
        """Write last.pt: the state before `epoch`. parts: name -> model, optimiser, RandomState or
        Best.

        seconds: leave it if the last one of this process is younger; for short epochs of large
        models.
        """
        if time.monotonic() - self.saved < seconds:
            return
        self.saved = time.monotonic()
        state = {name: _state(part) for name, part in parts.items()}
        self._save("last.pt", epoch=epoch, state=state, history=self.history)

    def _save(self, file: str, **content: Any) -> None:
        identity = {**self.identity, **self.notes, "settings": self.settings}
        checkpoint.save(self.path(file), {"method": self.method, **identity, **content})

    def resume(self, parts: Mapping[str, Any], changeable: Collection[str] = ("patience",)) -> int:
        """The epoch to begin with: 0, or with --resume that of last.pt, whose state is put into
        `parts`.

        From 0, the files of an earlier run are set aside.
        changeable: settings that may differ, because they change nothing in the epochs that are
        done. Raises InputError if there is nothing to resume, or if the run was started with other
        settings.
        """
        if not self.args.resume:
            self.set_aside()
            return 0
        path = self.path("last.pt")
        content = checkpoint.load(path, self.method)
        checkpoint.expect(path, content, self.identity)
        wanted = {name: value for name, value in self.settings.items() if name not in changeable}
        checkpoint.expect(path, content["settings"], wanted)
        if content["state"].keys() != parts.keys():
            raise InputError(
                f"{path} holds {', '.join(content['state'])}, expected {', '.join(parts)}: "
                "train from the start, without --resume"
            )
        for name, part in parts.items():
            _restore(part, content["state"][name])
        self.history = content["history"]
        log.info(f"resumed before epoch {content['epoch']}")
        return content["epoch"]

    def set_aside(self) -> None:
        """Rename the checkpoints, history and results of an earlier run to <name>.earlier.

        So they are neither lost, when a --resume was forgotten, nor taken for this run's until it
        writes its own.
        """
        mine = f"{glob.escape(self.prefix)}*"
        for unfinished in self.folder.glob(
            f".{mine}.tmp"
        ):  # of a process that was killed while it wrote
            unfinished.unlink()
        files = [*self.folder.glob(f"{mine}.pt"), self.path("history.csv"), self.results]
        found = [file for file in files if file.is_file()]
        for file in found:
            file.replace(file.with_name(f"{file.name}.earlier"))
        if found:
            log.info(f"{self.folder}: the files of an earlier run are named *.earlier from now on")

    def end_epoch(self, row: dict[str, Any], line: str, seconds: Mapping[str, float]) -> None:
        """Log an epoch and add it to history.csv. row: figures by column; line: the same for
        people.

        Raises InputError if a loss is not finite: what is saved is then the state before.
        """
        total = sum(seconds.values())
        log.info(f"epoch {row['epoch']:3d}  {line}  {total:.1f} s")
        for name, value in row.items():
            if name.split("_")[0] in LOSSES and not math.isfinite(value):
                raise InputError(
                    f"training diverged: {name} is {value} in epoch {row['epoch']}; try a smaller learning rate"
                )
        self.history.append(
            {**row, **{f"s_{name}": round(value, 3) for name, value in seconds.items()}}
        )
        results.write_csv(self.path("history.csv"), self.history)

    def save_arrays(self) -> None:
        """Write every figure of the history as an array file over the epochs, NaN where an epoch
        has none.
        """
        for name in dict.fromkeys(name for row in self.history for name in row):
            results.write_array(
                self.path("arrays") / f"{name}.npy", [row.get(name, np.nan) for row in self.history]
            )

    def write_results(self, content: Mapping[str, Any]) -> None:
        """Write the results as JSON: results.json of the run, and --json. content: more of them, or
        another kind.
        """
        content = {
            "kind": "retrieval",
            "method": self.method,
            **self.identity,
            **content,
            "settings": self.settings,
            "data": self.data,
            "seconds": round(time.time() - self.started, 1),
        }
        if self.args.mode == "Train":
            results.write_json(self.results, content)
        if self.args.json:
            results.write_json(self.args.json, content)


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], source: Path) -> None:
    """Put weights into a model. Raises InputError if their names or shapes are not the model's."""
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"the weights in {source} do not fit the model: {error}") from error


def digest_of(model: nn.Module) -> str:
    """SHA-256 of a model's weights, in hexadecimal digits: equal weights, equal digests."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _state(part: Any) -> Any:
    """Tensors and plain values from which `_restore` makes the part again."""
    if isinstance(part, np.random.RandomState):
        _, keys, position, has_gauss, gauss = part.get_state()
        return {
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": position,
            "gauss": [has_gauss, gauss],
        }
    return part.state_dict()


def _restore(part: Any, state: Any) -> None:
    if isinstance(part, np.random.RandomState):
        part.set_state(
            ("MT19937", state["keys"].numpy().astype(np.uint32), state["position"], *state["gauss"])
        )
    else:
        part.load_state_dict(state)
