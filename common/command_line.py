"""Command lines: parsers, types of options, options declared as fields of a dataclass, devices."""

import argparse
import math
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Collection
from dataclasses import field
from inspect import get_annotations
from pathlib import Path
from typing import Any

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError


def script_parser(doc: str, usage: str = "[options]", **words: Any) -> argparse.ArgumentParser:
    """A parser; wrong use is an InputError. doc: of the script; --help begins with its first two
    paragraphs, a sentence and examples, and ends with the others. usage: its first line.
    """
    width = shutil.get_terminal_size().columns - 2  # as argparse has it
    paragraphs = [
        part if part.startswith(" ") or "\n " in part else textwrap.fill(part, width)
        for part in doc.strip().split("\n\n")
    ]
    words |= {"description": "\n\n".join(paragraphs[:2]), "epilog": "\n\n".join(paragraphs[2:])}
    words["formatter_class"] = argparse.RawDescriptionHelpFormatter
    return _Parser(usage=f"%(prog)s {usage}", **words)


class _Parser(argparse.ArgumentParser):
    def parse_args(self, *given: Any) -> argparse.Namespace:
        return self.parse_intermixed_args(*given)  # files can stand after an option, too

    def error(self, message: str):
        raise InputError(f"{message} (see {self.prog} --help)")


def option(default: Any, text: str, *names: str, **words: Any) -> Any:
    """A field of a dataclass that is also an option of the command line, by the field's name.
    text: a line of help; the default is added. names: further ones. words: as of add_argument.
    """
    return field(default=default, metadata={"text": text, "names": names, "words": words})


FLAG = {"action": argparse.BooleanOptionalAction}  # --x, --no-x
SWITCH = {"type": int, "choices": (0, 1), "nargs": "?", "const": 1}  # --x, --x 1, --x 0


def add_options(parser, declared: type, title: str = "", defaults: Any = None,
                first: Collection[str] = ()) -> None:
    """Add the options that a dataclass declares, in a group for it and for each class it extends.
    title: by default the first line of the class's docstring. defaults: an instance for --help.
    first: options before all groups. What the command line lacks is absent after parsing.
    """
    added, titled = set[str](), title and parser.add_argument_group(title)
    for kind in reversed(declared.__mro__[:-1]):
        words = kind.__doc__.partition("\n")[0].rstrip(".")
        group = titled or parser.add_argument_group(words)
        for name in get_annotations(kind):
            last = next(own for own in declared.__mro__ if name in get_annotations(own))
            own = last.__dataclass_fields__[name]  # a class can declare one again
            if "text" not in own.metadata or name in added:
                continue
            added.add(name)
            text, words = own.metadata["text"], own.metadata["words"]
            default = getattr(defaults, name, own.default)
            if default is not None and words.get("action") != "store_true":
                text += f" ({default})"
            names = (f"--{name}", *own.metadata["names"])
            place = parser if name in first else group
            place.add_argument(*names, help=text, default=argparse.SUPPRESS, **words)


def add_device(parser, default: str = "auto") -> None:
    """Add --device, also named --gpu."""
    words = f"auto, cpu, cuda or cuda:N, or N ({default})"
    parser.add_argument("--device", "--gpu", default=default, help=words)


def number(words: str, allowed: Callable[[Any], bool],
           kind: type = float) -> Callable[[str], int | float]:
    """An argparse type: a finite number, float or int, that is `allowed`, as `words` say."""
    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value != value or abs(value) == math.inf or not allowed(value):
            raise argparse.ArgumentTypeError(f"expected {words}, found {text!r}")
        return value

    return parse


positive_int = number(f"a whole number of at least 1 and at most {10**9}",
                      lambda x: 1 <= x <= 10**9, int)
seed_number = number(f"a whole number from 0 to {2**32 - 1}", lambda x: 0 <= x < 2**32, int)
positive = number("a number above 0", lambda x: x > 0)
not_negative = number("a number of at least 0", lambda x: x >= 0)
share = number("a number from 0 to 1", lambda x: 0 <= x <= 1)
below_one = number("a number above 0 and below 1", lambda x: 0 < x < 1)
probability = number("a number of at least 0 and below 1", lambda x: 0 <= x < 1)


def seed_numbers(text: str) -> tuple[int, ...]:
    """argparse type: how many seeds, from 0 on, or the seeds themselves, separated by commas."""
    several = "," in text
    try:
        seeds = [*map(seed_number, text.split(","))] if several else range(positive_int(text))
    except argparse.ArgumentTypeError:
        seeds = ()
    if not seeds or len({*seeds}) < len(seeds):
        raise argparse.ArgumentTypeError("expected how many seeds, as 3, or different ones, as "
                                         f"0,4,7, found {text!r}")
    return tuple(seeds)


def visible(text: str) -> str:
    """argparse type: a name, of which something can be seen."""
    if not text.isprintable() or not text.strip():
        raise argparse.ArgumentTypeError(f"expected letters that can be seen, found {text!r}")
    return text.strip()


def output_file(text: str) -> Path:
    """argparse type: a file that can be written. Asked before the work whose results it is for."""
    path = Path(text)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if (path.exists() and not path.is_file()) or not folder.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file in a folder, found {text!r}")
    if not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"no permission to write in {folder}: name another file")
    return path


def devices(name: str) -> list[str]:
    """All that --device names: cpu, a GPU cuda:N, or every GPU. InputError if it is not there."""
    import torch  # here, so that scripts without a model start at once

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    name = f"cuda:{name}" if name.isdecimal() else name  # --gpu 1
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"unknown device {name!r}; choose auto, cpu, cuda or cuda:N")
    known = ["cpu", *(f"cuda:{number}" for number in range(count))]
    found = [each for each in known if name in (each, each.partition(":")[0])]
    if not found:
        raise InputError(f"device {name} asked for, {count} CUDA devices found; use --device cpu")
    return found


def pick_device(name: str) -> Any:
    """The torch.device of --device: of several GPUs the first, under torchrun the process's own.
    Products are in full float32 from then on, whatever the environment says. InputError for one
    that is not there, and for a GPU that processes would have to share.
    """
    import torch

    found, number, count = devices(name), *processes.local()
    if found[0] != "cpu" and count > len(found):
        raise InputError(f"expected a GPU for each of the {count} processes of torchrun, found "
                         f"{len(found)} with --device {name}")
    device = torch.device(found[number % len(found)])
    torch.set_float32_matmul_precision("highest")  # TF32 changes which neighbours are nearest
    torch.backends.cudnn.allow_tf32 = False
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for --deterministic
        torch.cuda.set_device(device)
    return device
