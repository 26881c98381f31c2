"""What every raw reader hands on, and the one way to say where a raw file is broken."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError


@dataclass(frozen=True)
class Recording:
    """One walk of one person in front of one camera.

    name: the file or folder it came from, below the data set's raw folder; unique.
    person: the person's label.
    group: what decides the split where the raw data do (a folder, a setting, a condition).
    frames: (n, J, 3) float64, metres for the Kinect sets; lost frames are already dropped.
    view: the camera's number, for sets with several views.
    """

    name: str
    person: int
    group: str
    frames: np.ndarray
    view: int = 0


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort key that takes digits in a file's name as a number, so that frame 10 follows frame 9."""
    parts: list[str | int] = re.split(r"(\d+)", path.name)
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts, path.name


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """The entries of a folder in natural order, without hidden files and read-me files."""
    paths = (path for path in folder.glob(pattern) if not path.name.startswith((".", "__")))
    return sorted((path for path in paths if path.stem.lower() != "readme"), key=natural_key)


def broken(path: Path, line: int, expected: str, found: str) -> InputError:
    """The error for a broken line (counted from 1) of a raw file."""
    return InputError(
        f"{path}, line {line}: expected {expected}, found {found[:80]!r}; repair or remove the file"
    )


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without empty ones at the end. Raises InputError for a file without
    any.
    """
    # Latin-1 decodes any byte, so that a damaged file is reported by its line and not by a codec.
    lines = path.read_text(encoding="latin-1").rstrip().splitlines()
    if not lines:
        raise InputError(
            f"{path}: expected lines with joints, found an empty file; repair or remove it"
        )
    return lines


def to_numbers(fields: list[str], path: Path, line: int) -> list[float]:
    """The fields of a line as floats. Raises InputError, with file and line, for anything else."""
    try:
        return [float(field) for field in fields]
    except ValueError:
        raise broken(path, line, "numbers", ",".join(fields)) from None


def require_finite(numbers: list[float], path: Path, line: int) -> None:
    """Raise InputError, with file and line, where a coordinate is not a finite number."""
    if not all(map(math.isfinite, numbers)):
        raise broken(path, line, "finite coordinates", str(numbers))
