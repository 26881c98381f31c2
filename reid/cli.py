"""Command line, seeds, devices and log files: what every script begins with."""

import argparse
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.datasets import DATASETS
from reid.errors import InputError
from reid.settings import PROTOCOLS

if TYPE_CHECKING:
    import torch

log = logging.getLogger("reid")


def script_parser(doc: str) -> argparse.ArgumentParser:
    """A parser whose --help begins with the script's docstring; wrong use ends in one line and exit code 2."""
    return _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise InputError(f"{message} (see {self.prog} --help)")


def training_parser(doc: str) -> argparse.ArgumentParser:
    """The parser of a training script, with the options that all of them have."""
    parser = script_parser(doc)
    add_data_arguments(parser)
    add_run_arguments(parser)
    return parser


def add_data_arguments(parser: argparse.ArgumentParser, dataset_required: bool = True) -> None:
    """Which data to use: shared by training and evaluation."""
    group = parser.add_argument_group("data")
    group.add_argument("--dataset", choices=DATASETS, required=dataset_required, help="name of the data set")
    group.add_argument(
        "--probe",
        "--split",
        "--probe_type",
        help="test split whose sequences are looked for in the gallery: probe (KS20, KGBD; default), A or B (IAS), "
        "Walking or Still (BIWI), nm.nm, cl.cl, bg.bg, cl.nm or bg.nm (CASIA_B)",
    )
    group.add_argument("--length", type=positive_int, help="frames f in a sequence (default: 6; CASIA_B 40)")
    group.add_argument(
        "--data", default="Datasets", metavar="DIR", help="folder that preprocess.py wrote (%(default)s)"
    )
    group.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="full",
        help="full: every sequence counts (default); released: as in the published code (docs/FIDELITY.md)",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """How to run: shared by the training scripts."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--mode", choices=("Train", "Eval"), default="Train", help="Eval: score the saved best model"
    )
    group.add_argument(
        "--out", default="ReID_Models", metavar="DIR", help="folder of checkpoints (%(default)s)"
    )
    group.add_argument(
        "--epochs", type=positive_int, metavar="N", help="stop after N epochs (default: early stopping)"
    )
    group.add_argument("--resume", action="store_true", help="continue from the last finished epoch")
    group.add_argument(
        "--save_features",
        type=output_file,
        metavar="FILE.npz",
        help="write features of the best model: FILE.train.npz, FILE.probe.npz, FILE.gallery.npz, after recognition "
        "FILE.test.npz too; .npz may be left out",
    )
    group.add_argument(
        "--model_size", type=int, choices=(0, 1), default=0, help="1: print parameters and FLOPs"
    )
    add_machine_arguments(group)


def add_learning_arguments(group, phase: str, better: str, balance: str) -> None:
    """How a method learns: shared by the training scripts, in each one's own group.

    phase: what --lr is of, where not of all. better: what --patience waits for. balance: what the help adds to
    --balance.
    """
    group.add_argument("--lr", type=positive, help="learning rate" + phase)
    group.add_argument("--batch_size", type=positive_int, help="sequences in a batch")
    group.add_argument(
        "--patience", type=positive_int, help=f"epochs without a better {better} until training stops"
    )
    group.add_argument(
        "--balance",
        action=argparse.BooleanOptionalAction,
        help=f"resample training sequences to equal class shares, {balance}",
    )


def add_machine_arguments(group) -> None:
    """Seed, device and output: shared by all scripts that compute."""
    group.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        help="the same seed on a CPU gives the same numbers (%(default)s)",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    group.add_argument("--gpu", metavar="N", help="short for --device cuda:N")
    group.add_argument("--json", type=output_file, metavar="FILE", help="write the results as JSON")
    group.add_argument("--quiet", action="store_true", help="print the results only")


def number(words: str, allowed: Callable[[Any], bool], kind: type = float) -> Callable[[str], Any]:
    """An argparse type: a finite number of a kind, float or int, that is `allowed`, as `words` say."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value != value or abs(value) == math.inf or not allowed(value):
            raise argparse.ArgumentTypeError(f"expected {words}, found {text!r}")
        return value

    return parse


positive_int = number(f"a whole number of at least 1 and at most {10**9}", lambda x: 1 <= x <= 10**9, int)
seed_number = number(f"a whole number from 0 to {2**32 - 1}", lambda x: 0 <= x < 2**32, int)
positive = number("a number above 0", lambda x: x > 0)
not_negative = number("a number of at least 0", lambda x: x >= 0)
share = number("a number from 0 to 1", lambda x: 0 <= x <= 1)
below_one = number("a number above 0 and below 1", lambda x: 0 < x < 1)


def output_file(text: str) -> Path:
    """argparse type: a file that can be written. Asked before the work whose results it is for."""
    path = Path(text)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file in a folder, found {text!r}: name another")
    if not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"no permission to write in {folder}: name another file")
    return path


def pick_device(args: argparse.Namespace) -> "torch.device":
    """The device of --device and --gpu. Raises InputError if it is not there."""
    import torch  # here, so that scripts without a model start at once

    gpu = getattr(args, "gpu", None)  # not all scripts have it
    name = f"cuda:{gpu}" if gpu else args.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}; choose auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name} asked for, {torch.cuda.device_count()} CUDA devices found; use --device cpu"
        )
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index is not None):
        raise InputError(f"unknown device {name!r}; choose auto, cpu, cuda or cuda:N")
    return device


def start_log(quiet: bool, file: Path | None = None) -> None:
    """Send the log to the terminal (unless quiet) and to the end of a file; warnings become one line each."""
    log.setLevel(logging.INFO)
    log.handlers.clear()
    log.propagate = False
    if not quiet:
        log.addHandler(logging.StreamHandler(sys.stdout))
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(
                file, encoding="utf-8", errors="backslashreplace"
            )  # adds to the end
        except OSError as error:
            raise InputError(f"could not write {file}: {error}") from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)
    for handler in log.handlers:
        handler.handleError = _raise
    warnings.showwarning = _one_line_warnings()


def _raise(record: logging.LogRecord) -> None:
    """In place of logging's traceback: what went wrong with a line of the log ends the command as anything else."""
    raise  # the exception that the handler has caught


def _one_line_warnings() -> Callable[..., None]:
    """In place of warnings.showwarning: one line each, the same one once, also if the data are read again."""
    shown = set()

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        if str(message) not in shown:
            print(f"warning: {message}", file=sys.stderr)
        shown.add(str(message))

    return show


def describe(settings: dict[str, Any]) -> str:
    """Settings as one readable line."""
    return "  ".join(f"{name} {value}" for name, value in settings.items())
