"""What every raw reader hands on, and what the readers share."""

import codecs
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.moments import natural_key

progress = partial(tqdm, disable=None, leave=False)  # on a terminal
SYSTEM_FILES = ("thumbs.db", "desktop.ini", "icon\r")


@dataclass(frozen=True)
class Recording:
    """One walk of one person in front of one camera."""

    name: str  # the file or folder it came from, below the data set's raw folder; unique
    person: int  # the label
    person_name: str  # as the raw data have it
    group: str  # what decides the split where the raw data do (a folder, a setting, a condition)
    frames: np.ndarray  # (n, J, 3) float64, metres for the Kinect sets; NaN is a lost frame
    view: int = 0  # the camera's number, for sets with several views
    rate: float | None = None  # frames a second, where they are known
    lost: dict[str, Any] = field(default_factory=dict)  # what was lost, by name, for split.json
    # Of users' own data: frames of somebody, and (J,) those of them in which each joint is lost;
    # the step from frame to frame, in the unit of their time or number.
    seen: int = 0
    lost_joints: np.ndarray | None = None
    step: float | None = None

    def losses(self) -> str:
        """What was lost, in words."""
        return ", ".join(f"{cause} {count}" for cause, count in self.lost.items() if count)

    def sequences(self, first: int = 0, last: int = 0) -> list[np.ndarray]:
        """Its frames but `first` and `last` at the ends, cut into pieces where some are lost."""
        frames = self.frames[first:max(len(self.frames) - last, 0)]
        lost = np.isnan(frames).any(axis=(1, 2))
        present = np.ma.array(lost, mask=lost)
        return [frames[piece] for piece in np.ma.flatnotmasked_contiguous(present)]


def read_each(read: Callable[[Any], Any], items: Collection, jobs: int, name: str) -> Iterator:
    """What `read` makes of each item, in their order, by `jobs` processes; a bar shows how many."""
    ignored = signal.SIGINT, signal.SIG_IGN  # Ctrl-C ends this process, which ends the others
    with ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=ignored) as pool:
        every = (pool.map if jobs > 1 else map)(read, items)
        yield from progress(every, desc=name, total=len(items))


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """The entries of a folder in natural order, without hidden files, those that systems leave
    behind, and read-me files.
    """
    def is_shown(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        return (not any(part.startswith((".", "__", "~$")) for part in parts)
                and path.name.lower() not in SYSTEM_FILES and path.stem.lower() != "readme")

    return sorted(filter(is_shown, folder.glob(pattern)), key=lambda path: natural_key(path.name))


def read_text(path: Path) -> str:
    """A text file without its byte order mark: UTF-8, UTF-16 with a mark, else Latin-1.

    Latin-1 decodes any byte, so that a damaged file is reported by its line and not by a codec.
    """
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without empty ones at the end. InputError for an empty file."""
    lines = read_text(path).splitlines()
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        raise broken(path, "lines with joints", "an empty file")
    return lines[:filled[-1] + 1]


def read_joints(path: Path, form: str, fields: Sequence[int],
                joints: int | None = None) -> np.ndarray:
    """These fields (lines, fields) of a file's first `joints` lines (None: of all), a line a joint.

    InputError, with the line, for one that lacks some of the `form` or holds other than numbers.
    """
    rows = []
    for number, line in enumerate(read_lines(path)[:joints], 1):
        words = line.split(",")
        try:
            rows.append([float(words[field]) for field in fields])
        except (ValueError, IndexError):
            words = []
        if len(words) <= form.count(","):
            raise broken(path, f"{form} in numbers", line, place=f"line {number}")
    return np.array(rows)


def whole_frame(rows: np.ndarray, joints: int, path: Path) -> np.ndarray:
    """The rows (joints, 3). InputError, with file and line, for others or not all finite."""
    count = len(rows)
    if count != joints:
        raise broken(path, f"{joints} lines, one a joint", f"{count} lines", place=f"line {count}")
    return finite(rows, path)


def finite(rows: np.ndarray, path: Path, unit: str = "line") -> np.ndarray:
    """The rows (n, ...). InputError, with file and line (or frame), if one is not all finite."""
    bad = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if bad.any():
        i = np.argmax(bad)
        raise broken(path, "finite coordinates", str(rows[i].tolist()), place=f"{unit} {i + 1}")
    return rows
