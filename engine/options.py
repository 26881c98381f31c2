"""The options that scripts share, a typed field each, and how a training script parses its own:
into one frozen object, in which data set, probe, length and settings are resolved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from common.command_line import add_options, device_name, option, output_file, script_parser
from common.errors import InputError
from common.numbers import positive_int, seed_number
from data import datasets
from engine.settings import PROTOCOLS, SETTINGS, choose


@dataclass(frozen=True)
class DataOptions:
    """Data."""

    dataset: str | None = option(None, "name of the data set", choices=tuple(datasets.DATASETS))
    probe: str | None = option(None, "test split: probe, A, B, Walking, nm.nm, ... (the first)",
                               "--split", "--probe_type")
    length: int | None = option(None, "frames f in a sequence (6; CASIA_B 40)", type=positive_int)
    data: Path = option(Path("Datasets"), "what preprocess.py wrote", type=Path, metavar="DIR")
    protocol: str = option("full", "released: as in the published code", choices=PROTOCOLS)
    view: int | None = None  # the test view of the cross-view protocol


@dataclass(frozen=True)
class MachineOptions:
    """Seed, device and output."""

    seed: int = option(0, "the same seed on a CPU gives the same numbers", type=seed_number)
    device: str = option("auto", "auto, cpu, cuda or cuda:N, or N", "--gpu", type=device_name)
    json: Path | None = option(None, "write the results as JSON", type=output_file, metavar="FILE")
    quiet: bool = option(False, "print the results only", action="store_true")


@dataclass(frozen=True)
class TrainingOptions(MachineOptions, DataOptions):
    """Run."""

    mode: str = option("Train", "Eval: score the saved best model", choices=("Train", "Eval"))
    out: Path = option(Path("ReID_Models"), "folder of checkpoints", type=Path, metavar="DIR")
    epochs: int | None = option(None, "stop after N epochs", type=positive_int, metavar="N")
    resume: bool = option(False, "continue from the last finished epoch", action="store_true")
    save_features: Path | None = option(None, "write FILE.{train,probe,gallery,test}.npz",
                                        type=output_file, metavar="FILE.npz")
    model_size: int = option(0, "1: print parameters and FLOPs", type=int, choices=(0, 1))
    task: str = "retrieval"  # what the encoder is trained for
    settings: Any = None  # of the method
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what the command line gives


@dataclass(frozen=True)
class PhaseOptions(TrainingOptions):
    """Phases: an encoder without labels, then a recogniser on its features."""

    task: str | None = option(None, "retrieval: the encoder alone, from the training split",
                              choices=("recognition", "retrieval"))
    view: int | None = option(None, "test view, cross-view (CASIA_B)", type=int, metavar="V")


Options = TypeVar("Options", bound=TrainingOptions)


def parse_training(doc: str, method: str, declared: type[Options]) -> Options:
    """The options of a training script: those declared, and the settings of its method, of which
    --help shows the published ones of the data set that is named. InputError for options that do
    not go together, or that the data set does not have.
    """
    early = script_parser("", add_help=False)  # what decides the published settings
    early.add_argument("--dataset")
    early.add_argument("--probe", "--split", "--probe_type")
    early.add_argument("--protocol", default="full")
    named, _ = early.parse_known_args()
    published = choose(method, named.protocol, named.dataset, named.probe, {})
    of = f" of {named.dataset}" if named.dataset else "; name a --dataset for its own"
    parser = script_parser(doc)
    add_options(parser, declared)
    add_options(parser, SETTINGS[method], f"{method} (published settings{of})", published)
    return resolve(method, declared, vars(parser.parse_args()))


def resolve(method: str, declared: type[Options], words: Mapping[str, Any]) -> Options:
    """Options from the values of the command line, by name, with what follows from the data set."""
    if "dataset" not in words:
        raise InputError(f"expected --dataset with one of {', '.join(datasets.DATASETS)}")
    row, view = datasets.get(words["dataset"]), words.get("view")
    has_phases = issubclass(declared, PhaseOptions) and (view is not None or row.recognition)
    task = words.get("task", "recognition" if has_phases else "retrieval")
    if view is not None and ("probe" in words or task == "retrieval"):
        raise InputError("--view is recognition with one test set: leave out --probe and --task")
    if view is None and not row.recognition and task == "recognition":
        raise InputError(
            f"recognition on {row.name} needs --view 0 to {row.views - 1}; or --task retrieval")
    probe = "test" if view is not None else words.get("probe") or next(iter(row.gallery_of))
    if view is None:
        row.pair(probe)
    length = words.get("length", row.default_length if view is None else row.view_length)
    epochs = dict.fromkeys(("pre_epochs", "recognition_epochs"), words.get("epochs"))
    protocol = words.get("protocol", "full")
    settings = choose(method, protocol, row.name, probe, epochs | dict(words))
    resolved = {**words, "probe": probe, "length": length, "task": task, "settings": settings}
    known = {each.name for each in fields(declared)}
    return declared(**{n: x for n, x in resolved.items() if n in known}, overrides=words)
