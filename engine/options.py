"""The options of the scripts, typed fields of frozen objects, and how they are parsed."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from skeleton_reid.common.command_line import add_options, option, output_file, script_parser
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.numbers import positive_int, seed_number, share
from skeleton_reid.data import datasets
from skeleton_reid.data.descriptors import DESCRIPTORS
from skeleton_reid.engine.settings import PROTOCOLS, SETTINGS, choose

BASELINES = (*DESCRIPTORS, "statistics", "window-LDA", "recording-LDA")
CLASSIFIERS = ("D-13+KNN", "D-16+AdaBoost", "LSTM", "LSTM-2")
SEARCHES = ("torch", "faiss")
WHAT = ("checkpoint", "features", "recognise", "gallery")  # one of them is evaluated


@dataclass(frozen=True)
class DataOptions:
    """Data, seed, device and output."""

    dataset: datasets.Dataset | None = option(
        None, f"{', '.join(datasets.DATASETS)}, or FILE.yaml (docs/9-own-data.md)",
        type=datasets.get, metavar="NAME")
    probe: str | None = option(None, "test split: probe, A, B, Walking, nm.nm, ... (the first)",
                               "--split", "--probe_type")
    length: int | None = option(None, "frames f in a sequence (6; CASIA_B 40)", type=positive_int)
    data: Path = option(Path("Datasets"), "what preprocess.py wrote", type=Path, metavar="DIR")
    protocol: str = option("full", "released: as in the published code", choices=PROTOCOLS)
    view: int | None = None  # the test view of the cross-view protocol
    seed: int = option(0, "the same seed on a CPU gives the same numbers", type=seed_number)
    device: str = option("auto", "auto, cpu, cuda or cuda:N, or N", "--gpu")
    json: Path | None = option(None, "write the results as JSON", type=output_file, metavar="FILE")
    quiet: bool = option(False, "print the results only", action="store_true")


@dataclass(frozen=True)
class TrainingOptions(DataOptions):
    """Run."""

    mode: str = option("Train", "Eval: score the saved best model", choices=("Train", "Eval"))
    out: Path = option(Path("ReID_Models"), "folder of checkpoints", type=Path, metavar="DIR")
    epochs: int | None = option(None, "stop after N epochs", type=positive_int, metavar="N")
    resume: bool = option(False, "continue from the last finished epoch", action="store_true")
    save_features: Path | None = option(None, "write FILE.{train,probe,gallery,test}.npz",
                                        type=output_file, metavar="FILE.npz")
    tensorboard: bool = option(False, "write events for TensorBoard", action="store_true")
    model_size: int = option(0, "1: print parameters and FLOPs", type=int, choices=(0, 1))
    search: str = "torch"  # of neighbours
    source: str | None = None  # of frame features; None: skeletons
    task: str = "retrieval"  # what the encoder is trained for
    settings: Any = None  # of the method
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what the command line gives


@dataclass(frozen=True)
class RetrievalOptions(TrainingOptions):
    """Frame features."""

    source: str | None = option(
        None, "train on features of the encoder of train_age.py or train_smsge.py --task retrieval,"
        " of a checkpoint FILE.pt, or of FILE.npz (FILE.train.npz, FILE.probe.npz ...)",
        metavar="AGE|SM-SGE|FILE")


@dataclass(frozen=True)
class SimMCOptions(RetrievalOptions):
    """Files and clusters."""

    search: str = option("torch", "of neighbours, exact", choices=SEARCHES)
    save_model: int = option(1, "1: keep the best model", type=int, choices=(0, 1))
    save_flag: int = option(0, "1: also mACT, mRCL; figures as arrays", type=int, choices=(0, 1))


@dataclass(frozen=True)
class ClusterOptions(TrainingOptions):
    """Clusters."""

    search: str = option("torch", "of neighbours, exact", choices=SEARCHES)


@dataclass(frozen=True)
class PhaseOptions(TrainingOptions):
    """Phases: an encoder without labels, then a recogniser on its features."""

    task: str | None = option(None, "retrieval: the encoder alone, from the training split",
                              choices=("recognition", "retrieval"))
    view: int | None = option(None, "test view, cross-view (CASIA_B)", type=int, metavar="V")
    encoder: Path | None = option(None, "encoder of another data set, which is not trained",
                                  type=Path, metavar="FILE")


@dataclass(frozen=True)
class SMSGEOptions(PhaseOptions):
    """Files."""

    pre_train: int = option(1, "0: reload the encoder", type=int, choices=(0, 1))
    save_flag: int = option(1, "0: keep no recogniser", type=int, choices=(0, 1))


@dataclass(frozen=True)
class PublishedOptions(DataOptions):
    """Published TensorFlow checkpoints (docs/6-formats.md)."""

    view: int | None = option(None, "view (CASIA_B), also for --recognise", type=int, metavar="V")
    batch_size: int | None = option(None, "of --protocol released", type=positive_int, metavar="N")
    encoder: Path | None = option(None, "of AGE's recogniser: its folder", type=Path, metavar="DIR")
    set: list[str] | None = option(None, "what no variable tells", nargs="+", metavar="NAME=VALUE")
    export: Path | None = option(None, "write it as ours", type=output_file, metavar="FILE")


@dataclass(frozen=True)
class EvaluationOptions(PublishedOptions):
    """Evaluation."""

    checkpoint: Path | None = option(None, "ours or TensorFlow's", type=Path, metavar="FILE")
    features: str | None = option(None, "a baseline", choices=(*BASELINES, "session", "untrained"))
    recognise: str | None = option(None, "a baseline of recognition", choices=CLASSIFIERS)
    gallery: Path | None = option(None, "features, with --probe FILE", type=Path, metavar="FILE")
    exclude_self: bool = option(False, "the two files are one set", action="store_true")
    source: str | None = option(None, "AGE, SM-SGE, FILE.pt or FILE.npz, where it has moved")
    out: Path = option(Path("ReID_Models"), "where --source is", type=Path, metavar="DIR")
    epochs: int | None = option(None, "of the LSTMs, at most", type=positive_int, metavar="N")
    neighbours: int | None = option(None, "of D-13+KNN (5)", type=positive_int, metavar="N")


GALLERY_COMMANDS = ("add", "remove", "list", "identify", "calibrate")


@dataclass(frozen=True)
class GalleryOptions:
    """Gallery."""

    checkpoint: Path | None = option(None, "the encoder, of a new one", type=Path, metavar="FILE")
    name: str | None = option(None, "person of the files, or to remove")
    dataset: datasets.Dataset | None = option(None, "recordings of a data set, or FILE.yaml",
                                              type=datasets.get, metavar="NAME")
    probe: str | None = option(None, "its test split: probe, A, Walking, ... (the first)")
    data: Path = option(Path("Datasets"), "what preprocess.py wrote", type=Path, metavar="DIR")
    persons: int | None = option(None, "the first N of the data set", type=positive_int)
    recordings: int | None = option(None, "the first N of each person", type=positive_int)
    far: float = option(0.01, "largest false acceptance rate", type=share)
    search: str = option("torch", "of the nearest, exact", choices=SEARCHES)
    picture: Path | None = option(None, "of the error rates", type=output_file, metavar="FILE.png")
    device: str = option("auto", "auto, cpu, cuda or cuda:N, or N", "--gpu")
    command: str = ""  # one of GALLERY_COMMANDS
    gallery: Path = Path()
    files: tuple[Path, ...] = ()


Options = TypeVar("Options", bound=TrainingOptions)


def parse_training(doc: str, method: str, declared: type[Options]) -> Options:
    """The options of a training script (in --help those published for the --dataset)."""
    early = script_parser("", add_help=False, allow_abbrev=False)  # decides what is published
    add_options(early, DataOptions)
    named = DataOptions(**vars(early.parse_known_args()[0]))
    name = named.dataset and named.dataset.name
    published = choose(method, named.protocol, name, named.probe, {})
    of = f" of {name}" if name else "; name a --dataset for its own"
    parser = script_parser(doc)
    add_options(parser, declared, first=("dataset", "probe", "seed", "epochs", "resume", "mode"))
    add_options(parser, SETTINGS[method], f"{method} (published settings{of})", published)
    return resolve(method, declared, vars(parser.parse_args()))


def resolve(method: str, declared: type[Options], words: Mapping[str, Any]) -> Options:
    """Options from the values of the command line, by name, with what follows from the data set.
    InputError for options that do not go together, or not with the data set.
    """
    if "dataset" not in words:
        raise InputError(f"expected --dataset with one of {', '.join(datasets.DATASETS)}")
    row, view = words["dataset"], words.get("view")
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
    settings = choose(method, words.get("protocol", "full"), row.name, probe, epochs | dict(words))
    resolved = {**words, "probe": probe, "length": length, "task": task, "settings": settings}
    known = {each.name for each in fields(declared)}
    return declared(**{n: x for n, x in resolved.items() if n in known}, overrides=words)


def parse_evaluation(doc: str) -> EvaluationOptions:
    """The options of evaluate.py. InputError for those that do not go together, or lack one."""
    parser = script_parser(doc)
    add_options(parser, EvaluationOptions, first=(*WHAT, "dataset", "probe"))
    options = EvaluationOptions(**vars(parser.parse_args()))
    names = [f"--{name}" for name in WHAT if getattr(options, name)]
    if len(names) != 1:
        words = " and ".join(names) or "none"
        raise InputError(f"expected one of --{', --'.join(WHAT)}, found {words}")
    if not options.checkpoint:
        refuse_options(options, view=options.recognise is not None)
    o, released = options, options.protocol == "released"
    problems = {
        "--gallery FILE needs --probe FILE": o.gallery and not o.probe,
        f"expected --dataset with {names[0]}": (o.features or o.recognise) and not o.dataset,
        "--epochs, --neighbours need --recognise": (o.epochs or o.neighbours) and not o.recognise,
        "no code was released for --recognise": o.recognise and released,
        "--source goes with --checkpoint": o.source and not o.checkpoint,
        "--exclude_self goes with feature files": o.exclude_self and not o.gallery,
    }
    for message, is_wrong in problems.items():
        if is_wrong:
            raise InputError(message)
    return options


def parse_gallery(doc: str) -> GalleryOptions:
    """The options of gallery.py."""
    parser = script_parser(doc, "COMMAND GALLERY [FILE.npy ...] [options]")
    parser.add_argument("command", choices=GALLERY_COMMANDS)
    parser.add_argument("gallery", type=Path, help="its file")
    parser.add_argument("files", nargs="*", type=Path, help="recordings (T, J, 3), FILE.npy")
    add_options(parser, GalleryOptions, first=("checkpoint", "name", "dataset", "far", "picture"))
    return GalleryOptions(**vars(parser.parse_args()))


def parse_export(doc: str) -> Namespace:
    """The options of export.py: checkpoint and onnx, two paths, and device."""
    parser = script_parser(doc, "CHECKPOINT --onnx FILE")
    parser.add_argument("checkpoint", type=Path, help="of an encoder")
    parser.add_argument("--onnx", type=output_file, required=True, help="the file to write")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (cpu)")
    return parser.parse_args()


def refuse_options(options: PublishedOptions, found: Any = "none", view: bool = False) -> None:
    """InputError for an option that only a published checkpoint takes, but for --view if `view`."""
    for name in ("encoder", "set", "export", *(() if view else ("view",))):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} goes with a TensorFlow checkpoint, found {found}")
