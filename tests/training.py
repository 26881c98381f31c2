"""The training scripts on small random data sets, and how the tests read what a run leaves
behind.
"""

import csv
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from commands import error_of, results_of

from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.methods import METHODS

RETRIEVAL = ("top1", "top5", "top10", "mAP")
RECOGNITION = ("rank", "rank1", "nAUC_roc", "nAUC_cmc", "loss", "confusion", "epoch", "step")


@dataclass(frozen=True)
class Script:
    """A training script and the small run of it that tests start from."""

    method: str
    dataset: str = "KS20"
    persons: int = 8
    windows: int = 8  # of each person in every split, 6 frames each
    noise: float = 2.5  # at which persons overlap, and yet there are clusters
    recogniser: str = ""  # folder of that phase
    folder: str = ""  # of the run's files under --out

    @property
    def name(self) -> str:
        return METHODS[self.method].script.removesuffix(".py")

    @property
    def small(self) -> tuple:
        """Options with which an epoch takes a moment."""
        pairs = METHODS[self.method].small.items()
        return tuple(word for name, value in pairs for word in (f"--{name}", value))


SCRIPTS = {
    name: Script(name, folder=str(own.run_folder("", "KS20", "probe")[0]))
    for name, own in METHODS.items()
}  # fmt: skip
# Those that need other data.
SCRIPTS |= {
    "Hi-MPC": Script("Hi-MPC", noise=0.5, folder="Hi-MPC/KS20/probe"),
    "statistics": Script("statistics", windows=16, noise=2.0, folder="statistics/KS20/probe"),
    "DF": Script("DF", persons=6, noise=1.5, folder="X+DF/KS20/probe"),
    "PoseGait-own-reading": Script("PoseGait-own-reading", persons=4, windows=4,
                                   folder="PoseGait-own-reading/KS20/probe"),
    "MG-SCR": Script("MG-SCR", "IAS", 5, 4, 1.5, "recogniser",
                     "MG-SCR/IAS/subset"), "SGELA": Script("SGELA", "IAS", 5, 8, 1.5, "ap",
                                                           "SGELA/IAS/rev_rec"),
    "AGE": Script("AGE", "IAS", 5, 8, 1.5, "ap",
                  "AGE/IAS/LA"), "SM-SGE": Script("SM-SGE", "IAS", 5, 4, 1.5, "recogniser_A",
                                                  "SM-SGE/IAS/IJPB")
}


class Training:
    """A training script in a folder of a test: data/ holds a small data set, out/ takes the
    results.

    Called with arguments, it runs the script with them and its small options, and returns the
    results. dataset: another one, which the test has written to `data`.
    """
    def __init__(self, method: str, root: Path, write_dataset: Callable):
        self.method, self.script, self.extra = method, SCRIPTS[method], ()
        self.data, self.out = root / "data", root / "out"
        own = self.script
        sizes = own.persons, own.windows, np.random.RandomState(0)
        self.parts = write_dataset(self.data, own.dataset, 6, *sizes, noise=own.noise)
        if method == "DF":
            self.extra = ("--source", self.write_features(root / "X.npz"))

    def write_features(self, path: Path) -> Path:
        """Write feature files of the data in which 2 of 9 numbers tell the persons apart."""
        rng = np.random.RandomState(1)
        centres = rng.normal(size=(self.script.persons, 2))
        for part in ("train", "probe", "gallery"):
            labels = np.load(self.parts[part].frame_id)
            frames = rng.normal(scale=[1.5] * 2 + [4] * 7, size=(len(labels), 6, 9))
            frames[..., :2] += 1.5 * centres[labels][:, None]
            np.savez(path.with_name(f"X.{part}.npz"), features=frames.mean(axis=1), labels=labels,
                     frames=frames)
        return path

    def words(self, *arguments: object, dataset: str = "") -> tuple:
        """The command line without the script's name."""
        where = (*self.on(dataset), "--out", self.out)
        return *where, *self.script.small, *self.extra, "--quiet", *arguments

    def on(self, dataset: str = "") -> tuple:
        """The arguments that name the data."""
        return "--dataset", dataset or self.script.dataset, "--data", self.data

    def __call__(self, *arguments: object, dataset: str = "") -> dict:
        return results_of(self.script.name, *self.words(*arguments, dataset=dataset))

    def error(self, capsys, *arguments: object, dataset: str = "") -> str:
        """The one line with which these arguments are refused."""
        return error_of(capsys, self.script.name, *self.words(*arguments, dataset=dataset))

    def path(self, *parts: str) -> Path:
        """A file of the run; "recogniser" stands for that phase's folder."""
        names = (self.script.recogniser if part == "recogniser" else part for part in parts)
        return self.out.joinpath(self.script.folder, *names)

    def history(self, phase: str = "") -> list[dict]:
        """The rows of the history.csv of the run, or of one of its phases."""
        return history(self.path(phase, "history.csv"))

    def weights(self, phase: str = "") -> dict[str, torch.Tensor]:
        """The saved weights of the run's model, or of the model of one of its phases, by name."""
        return checkpoint.load(self.path(phase, "best.pt"))["model"]

    def evaluate(self, checkpoint: Path, *arguments: object, dataset: str = "") -> dict:
        """The results of evaluate.py on a checkpoint."""
        words = ("--checkpoint", checkpoint, *self.on(dataset), "--quiet")
        return results_of("evaluate", *words, *arguments)

    def evaluate_error(self, capsys, checkpoint: Path, *arguments: object,
                       dataset: str = "") -> str:
        """The one line with which evaluate.py refuses a checkpoint."""
        words = ("--checkpoint", checkpoint, *self.on(dataset), "--quiet")
        return error_of(capsys, "evaluate", *words, *arguments)


def history(path: Path) -> list[dict]:
    """The rows of a history.csv without the seconds."""
    with path.open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("s_")}
                for row in csv.DictReader(file)]


def without_time(result: Mapping) -> dict:
    """Results without the seconds that they took."""
    return {name: value for name, value in result.items() if name != "seconds"}


def pick(result: Mapping, names: Collection[str]) -> dict:
    """The results of these names."""
    return {name: result[name] for name in names}


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are the same, to the bit."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first)
