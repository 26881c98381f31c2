"""What every raw reader hands on, and the one way to say where a raw file is broken."""

import re
from collections.abc import Sequence
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


def broken(path: Path, expected: str, found: object, place: str = "") -> InputError:
    """The error for a broken raw file; `place` in it, such as "line 3" (counted from 1)."""
    where = f"{path}, {place}" if place else path
    found = repr(found[:80]) if place and isinstance(found, str) else found
    return InputError(f"{where}: expected {expected}, found {found}; repair or remove it")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without empty ones at the end. InputError for an empty file."""
    # Latin-1 decodes any byte, so that a damaged file is reported by its line and not by a codec.
    lines = path.read_text(encoding="latin-1").rstrip().splitlines()
    if not lines:
        raise broken(path, "lines with joints", "an empty file")
    return lines


def to_numbers(fields: Sequence[str], path: Path, line: int) -> list[float]:
    """The fields of a line as floats. InputError, with file and line, for anything else."""
    try:
        return [float(field) for field in fields]
    except ValueError:
        raise broken(path, "numbers", ",".join(fields), f"line {line}") from None


def read_joint_lines(
    path: Path, joints: int, fields: str, lines_after_joints: bool = False
) -> np.ndarray:
    """The numbers of a file with one line `fields` a joint, (joints, fields).

    lines_after_joints: whether lines may follow; they are not read.
    """
    lines = read_lines(path)
    if len(lines) < joints or (len(lines) > joints and not lines_after_joints):
        expected = f"{joints} lines, one a joint"
        raise broken(path, expected, f"{len(lines)} lines", f"line {len(lines)}")
    rows = []
    for number, line in enumerate(lines[:joints], 1):
        values = line.split(",")
        if len(values) != fields.count(",") + 1:
            raise broken(path, fields, line, f"line {number}")
        rows.append(to_numbers(values, path, number))
    return np.array(rows)


def require_finite(rows: np.ndarray, path: Path, unit: str = "line") -> None:
    """InputError, with file and line (or frame), where a row (n, ...) is not finite throughout."""
    finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise broken(path, "finite coordinates", str(rows[row].tolist()), f"{unit} {row + 1}")
