"""The options of the scripts: typed fields of frozen objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skeleton_reid.common.command_line import (option, output_file, positive_int, seed_number,
                                               seed_numbers, visible)
from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.data.descriptors import DESCRIPTORS

BASELINES = (*DESCRIPTORS, "statistics", "window-LDA", "recording-LDA")
CLASSIFIERS = ("D-13+KNN", "D-16+AdaBoost", "LSTM", "LSTM-2")
PROTOCOLS = ("full", "released")
SEARCHES = ("torch", "faiss")


@dataclass(frozen=True)
class DataOptions:
    """Data, seed, device and output."""

    dataset: datasets.Dataset | None = option(
        None, f"{', '.join(datasets.DATASETS)}, or FILE.yaml (docs/09-own-data.md)",
        type=datasets.get, metavar="NAME")
    probe: str | None = option(None, "test split: probe, A, B, Walking, nm.nm, ... (the first)",
                               "--split", "--probe_type")
    length: int | None = option(None, "frames f in a sequence (6; CASIA_B 40)", type=positive_int)
    data: Path = option(Path("Datasets"), "what preprocess.py wrote", type=Path, metavar="DIR")
    protocol: str = option("full", "released: as in the published code", choices=PROTOCOLS)
    view: int | None = None  # the test view of the cross-view protocol
    seed: int = option(0, "random seed; same seed, same numbers (CPU)", type=seed_number)
    device: str = option("auto", "auto, cpu, cuda or cuda:N, or N", "--gpu")
    json: Path | None = option(None, "write the results as JSON", type=output_file, metavar="FILE")
    quiet: bool = option(False, "print the results only", action="store_true")


@dataclass(frozen=True)
class TrainingOptions(DataOptions):
    """Run."""

    mode: str = option("Train", "Eval: score the saved best model", choices=("Train", "Eval"))
    seeds: tuple[int, ...] | None = option(
        None, "several runs: 3 for the seeds 0 1 2, or a list such as 0,4,7", type=seed_numbers,
        metavar="N|A,B")
    name: str | None = option(None, "of the run, in tables and pictures", type=visible)
    out: Path = option(Path("ReID_Models"), "folder of checkpoints", type=Path, metavar="DIR")
    epochs: int | None = option(None, "stop after N epochs, in each phase", type=positive_int,
                                metavar="N")
    resume: bool = option(False, "continue from the last finished epoch", action="store_true")
    save_features: Path | None = option(None, "write FILE.{train,probe,gallery,test}.npz",
                                        type=output_file, metavar="FILE.npz")
    tensorboard: bool = option(False, "write events for TensorBoard", action="store_true")
    deterministic: bool = option(False, "the same numbers every time on a GPU, too",
                                 action="store_true")
    model_size: int = option(0, "1: print parameters and FLOPs", type=int, choices=(0, 1))
    search: str = "torch"  # of neighbours
    search_eps: bool = False  # end with a table of clusters by --eps
    source: str | None = None  # of frame features in place of skeletons
    encoder: Path | None = None  # of another data set
    task: str = "retrieval"  # what the encoder is trained for
    settings: Any = None  # of the method
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what the command line gives


@dataclass(frozen=True)
class ClusterOptions(TrainingOptions):
    """Clusters."""

    search: str = option("torch", "library of the exact neighbour search", choices=SEARCHES)
    search_eps: bool = option(False, "print the clusters for seven values of --eps, and end",
                              action="store_true")


@dataclass(frozen=True)
class SourceOptions(TrainingOptions):
    """Frame features."""

    source: str | None = option(
        None, "train on features: of AGE, SGELA, SM-SGE or MG-SCR (trained by --task retrieval),"
        " statistics (distances of joints), a checkpoint FILE.pt or FILE.npz (FILE.train.npz,"
        " FILE.probe.npz, ...)", metavar="NAME|FILE")
    source_features: str = option("nodes", "SM-SGE: node features or states of the LSTMs",
                                  choices=("nodes", "states"))


@dataclass(frozen=True)
class PhaseOptions(TrainingOptions):
    """Phases: an encoder without labels, then a recogniser on its features."""

    task: str | None = option(None, "retrieval: the encoder alone, from the training split",
                              choices=("recognition", "retrieval"))
    view: int | None = option(None, "test view of cross-view (CASIA_B, KS20)", type=int,
                              metavar="V")
    encoder: Path | None = option(None, "use an encoder of another data set, without training it",
                                  type=Path, metavar="FILE")


@dataclass(frozen=True)
class PublishedOptions(DataOptions):
    """Published TensorFlow checkpoints (docs/06-formats.md)."""

    view: int | None = option(None, "test view of cross-view (CASIA_B, KS20)", type=int,
                              metavar="V")
    batch_size: int | None = option(None, "of --protocol released", type=positive_int, metavar="N")
    encoder: Path | None = option(None, "folder of the encoders of AGE's recogniser", type=Path,
                                  metavar="DIR")
    set: list[str] | None = option(None, "settings that its variables do not show", nargs="+",
                                   metavar="NAME=VALUE")
    positions: Path | None = option(None, "positions of joints of TranSG and MoCos: .npy or .npz",
                                    type=Path, metavar="FILE")
    export: Path | None = option(None, "write it as a checkpoint of this project", type=output_file,
                                 metavar="FILE")


def refuse_options(options: PublishedOptions, found: Any = "none", view: bool = False) -> None:
    """InputError for an option that only a published checkpoint takes, but for --view if `view`."""
    for name in ("encoder", "set", "positions", "export", "view"):
        if getattr(options, name) is not None and not (view and name == "view"):
            raise InputError(f"--{name} goes with a TensorFlow checkpoint, found {found}")
