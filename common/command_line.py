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

from common.errors import InputError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("reid")


def script_parser(doc: str) -> argparse.ArgumentParser:
    """A parser whose --help begins with the script's docstring; wrong use ends in one line and exit
    code 2.
    """
    return _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise InputError(f"{message} (see {self.prog} --help)")


def number(words: str, allowed: Callable[[Any], bool], kind: type = float) -> Callable[[str], Any]:
    """An argparse type: a finite number of a kind, float or int, that is `allowed`, as `words`
    say.
    """

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value != value or abs(value) == math.inf or not allowed(value):
            raise argparse.ArgumentTypeError(f"expected {words}, found {text!r}")
        return value

    return parse


positive_int = number(
    f"a whole number of at least 1 and at most {10**9}", lambda x: 1 <= x <= 10**9, int
)
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
        raise argparse.ArgumentTypeError(
            f"expected a file in a folder, found {text!r}: name another"
        )
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
    """Send the log to the terminal (unless quiet) and to the end of a file; warnings become one
    line each.
    """
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
    """In place of logging's traceback: what went wrong with a line of the log ends the command as
    anything else.
    """
    raise  # the exception that the handler has caught


def _one_line_warnings() -> Callable[..., None]:
    """In place of warnings.showwarning: one line each, the same one once, also if the data are read
    again.
    """
    shown = set()

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        if str(message) not in shown:
            print(f"warning: {message}", file=sys.stderr)
        shown.add(str(message))

    return show


def describe(settings: dict[str, Any]) -> str:
    """Settings as one readable line."""
    return "  ".join(f"{name} {value}" for name, value in settings.items())
