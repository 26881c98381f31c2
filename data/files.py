"""Read one split from its files, and check all that can be wrong; what preprocess.py says of it."""

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skeleton_reid.common.errors import InputError, in_words
from skeleton_reid.data.datasets import Dataset, get
from skeleton_reid.data.layouts import AXES, Part, layouts
from skeleton_reid.data.safe_pickle import read_pickled_npy
from skeleton_reid.data.skeleton import Skeleton

SUMS_FILE = "checksums.json"  # preprocess.py writes it beside a split's files
SPLIT_FILE = "split.json"  # likewise beside the data
# Of split.json, what results say of their data.
PROVENANCE = ("seed", "joint_order", "split", "stride", "windows", "persons", "description")
LARGEST_LABEL = 2**53  # whole numbers up to here are exact as floats
BLOCK = 2**14  # frames that are read together
LARGEST_COORDINATE = 1e9  # in the files' unit; beyond it squared distances drown in rounding


class Note(msgspec.Struct):
    """What split.json says, as far as it decides something."""

    simulated: bool
    description: dict[str, Any] = {}
    described_in: str = ""  # the YAML file, from the folder on
    persons: dict[int, str] = {}  # names by label
    recordings: dict[str, Any] = {}  # by name, in the order of their numbers


def broken(path: Path, expected: str, found: object, then: str = "repair or remove it",
           place: str = "") -> InputError:
    """The error for a broken file or folder. then: what to do. place: in it, such as "line 3"."""
    where = f"{path}, {place}" if place else path
    found = repr(found[:80]) if place and isinstance(found, str) else found
    return InputError(f"{where}: expected {expected}, found {found}; {then}")


@dataclass(frozen=True)
class Sequences:
    """Windows: skeletons (N, f, J, 3) float32 in the unit of the files; labels (N,) int64."""

    skeletons: np.ndarray
    labels: np.ndarray
    recordings: np.ndarray | None = None  # (N,) int64 places in split.json, None if unknown

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> "Sequences":
        """The windows with these numbers, or where a (N,) mask is true, in this order."""
        recordings = None if self.recordings is None else self.recordings[index]
        return Sequences(self.skeletons[index], self.labels[index], recordings)


def join(parts: list[Sequences]) -> Sequences:
    """The windows of several sets; their recordings are known if those of all are."""
    columns = zip(*((part.skeletons, part.labels, part.recordings) for part in parts), strict=True)
    known = (column for column in columns if all(values is not None for values in column))
    return Sequences(*(np.concatenate(column) for column in known))


def read_split(part: Part, skeleton: Skeleton, centred: bool = True) -> Sequences:
    """The windows of one split, in stored order. InputError if a file is missing, damaged, pickled,
    not finite, or does not fit the other files, the joints or the length.

    skeleton: whose joints are expected. centred: subtract its root in every frame, in float64.
    """
    _check_sums(part.folder)
    joints = len(skeleton)
    axes = [_read_axis(part.axis(axis), joints) for axis in AXES]  # 3 x (N*f, J)
    labels = read_labels(part)
    for axis, values in zip(AXES, axes, strict=True):
        if len(values) != len(labels) * part.length or len(values) == 0:
            expected = f"a row a frame of {len(labels)} windows of {part.length}, as many as labels"
            found = f"{len(values)} rows"
            raise broken(part.axis(axis), expected, found, "are they of another length?")
    recordings = None
    if part.recording_id.is_file():
        recordings = _whole_numbers(_read_npy(part.recording_id), part.recording_id)
        if len(recordings) != len(labels):
            expected = f"recordings of {len(labels)} windows"
            raise broken(part.recording_id, expected, len(recordings))
    skeletons = np.empty((len(axes[0]), joints, 3), np.float32)  # (N*f, J, 3)
    for first in range(0, len(skeletons), BLOCK):
        rows = slice(first, first + BLOCK)
        frames = np.stack([values[rows] for values in axes], axis=-1).astype(np.float64)
        skeletons[rows] = frames - skeleton.mean(skeleton.root, frames) if centred else frames
    return Sequences(skeletons.reshape(len(labels), part.length, joints, 3), labels, recordings)


def _check_sums(folder: Path) -> None:
    """InputError if a file is not as preprocess.py wrote it; downloads have no checksums."""
    file = folder / SUMS_FILE
    if file.is_file():
        try:
            sums = msgspec.json.decode(file.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise broken(file, "checksums of preprocess.py", in_words(error)) from error
        for path, known in ((folder / name, known) for name, known in sums.items()):
            if path.is_file() and checksum(path) != known:
                raise broken(path, "the file as preprocess.py wrote it", "another",
                             f"run preprocess.py again, or remove {SUMS_FILE} beside it")


def checksum(path: Path) -> int:
    """The CRC-32 of a file, which is mapped into memory."""
    return zlib.crc32(np.memmap(path, mode="r")) if path.stat().st_size else 0


def read_labels(part: Part) -> np.ndarray:
    """Person labels (N,) int64 of the windows, from frame_id or ids; InputError if neither."""
    if part.frame_id.is_file() and (labels := _read_npy(part.frame_id)) is not None:
        return _whole_numbers(labels, part.frame_id)
    path = part.ids
    if not path.is_file():
        raise InputError(f"no labels: expected {part.frame_id} or {path}, found none to read")
    windows_of = read_pickled_npy(path).tolist()
    if not isinstance(windows_of, dict) or not windows_of:
        raise broken(path, "a dict from label to window numbers", "another")
    groups = [_whole_numbers(numbers, path) for numbers in windows_of.values()]
    order = np.argsort(np.concatenate(groups))
    if not np.array_equal(np.concatenate(groups)[order], np.arange(len(order))):
        raise broken(path, "every window number from 0 on once", "others")
    return np.repeat(_whole_numbers(list(windows_of), path), list(map(len, groups)))[order]


def _read_npy(path: Path) -> np.ndarray | None:
    """The array of a file, mapped; None if it is pickled. InputError for no whole `.npy` file."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, MemoryError) as error:
        if "objects in dtype" in str(error):  # NumPy's words for a pickle
            return None
        found = f"another or a damaged one ({in_words(error)})"
        raise broken(path, "a whole .npy file", found) from error


def _read_axis(path: Path, joints: int) -> np.ndarray:
    """One coordinate of every joint in every frame, (N*f, J) numbers, mapped into memory."""
    if not path.is_file():
        raise InputError(f"{path} is missing: expected one file for each of the axes x, y, z")
    values = _read_npy(path)
    if values is None or values.dtype.kind not in "fiu" or values.shape[1:] != (joints,):
        expected = f"an array of numbers (windows * frames, {joints} joints)"
        found = "objects" if values is None else f"{values.dtype} {values.shape}"
        raise broken(path, expected, found, "is it another data set's?")
    parts = (values[i:i + BLOCK].astype(np.float64) for i in range(0, len(values), BLOCK))
    if bad := sum(np.count_nonzero(~(abs(part) < LARGEST_COORDINATE)) for part in parts):
        found = f"{bad} NaN, infinite or beyond {LARGEST_COORDINATE:g}"
        raise broken(path, "finite coordinates", found, "drop the frames with lost joints")
    return values


def _whole_numbers(values: np.ndarray | list, path: Path) -> np.ndarray:
    """The values (n,) as int64; whole floats and digits in text pass, as older code wrote them."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":  # which NumPy would cut to its real part
            raise TypeError("complex numbers")
        numbers = array.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise broken(path, "a list of whole numbers", f"other values ({error})") from error
    if numbers.ndim == 1 and ((abs(numbers) < LARGEST_LABEL) & (numbers == numbers.round())).all():
        return numbers.astype(np.int64)
    found = f"the shape {array.shape}, fractions, NaN or numbers beyond 2^53"
    raise broken(path, "a list of whole numbers", found)


def provenance(dataset: str | Dataset, length: int, root: str | Path = "Datasets",
               view: int | None = None) -> dict[str, Any]:
    """What preprocess.py wrote beside the data: whether they are simulated, and PROVENANCE;
    {"simulated": False} for data from elsewhere, such as a download, or for none.

    InputError for windows of another description than the data set's, and for a damaged split.json:
    figures from simulated data must not pass for others.
    """
    row = get(dataset)
    file, values, note = _read_note(row, length, root, view)
    if file is None:
        return {"simulated": False}
    refuse_namesake(row, file.parent, note)
    made, own = note.description, row.description()
    keys = own.keys() if row.source is None else made.keys() | own.keys()
    for key in [*sorted(keys - {"joints"}), "joints"] if made else ():
        if made.get(key) != own.get(key):
            raise broken(file, f"windows made with {key} {own.get(key, 'the default')}",
                         made.get(key, "the default"), "run preprocess.py again")
    sums = b"".join(each.read_bytes() for each in sorted(file.parent.glob(f"*/{SUMS_FILE}")))
    digest = {"digest": f"{zlib.crc32(sums):08x}"} if sums else {}
    known = {key: values[key] for key in PROVENANCE if key in values}
    return {"simulated": note.simulated} | known | digest


def _read_note(row: Dataset, length: int, root: str | Path, view: int | None = None) -> tuple:
    """split.json of windows: the file, its values, and what decides something; None without one."""
    places = layouts(row, length, Path(root), view)
    files = [file for place in places if (file := place.folder / SPLIT_FILE).is_file()]
    if not files:
        return None, {}, Note(simulated=False)
    file = files[0]
    try:
        values = json.loads(file.read_text())
        return file, values, msgspec.convert(values, Note, strict=False)
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise broken(file, "what preprocess.py writes", in_words(error)) from error


def recording_names(row: Dataset, length: int, root: str | Path) -> list[str]:
    """The recordings' names by number, as far as they are known."""
    return [*_read_note(row, length, root)[2].recordings]


def refuse_namesake(dataset: Dataset, folder: Path, note: Note) -> None:
    """InputError where the windows of a folder are those of another YAML file that is still there.
    Its place is kept from the folder on, so that both can be moved or copied together.
    """
    if dataset.source and note.described_in:
        other = folder.resolve() / note.described_in
        if other.is_file() and not other.samefile(dataset.source.file):
            raise broken(folder, f"windows of {dataset.source.file}",
                         f"those of {os.path.normpath(other)}, which has the same name",
                         "give one of them another `name`, or take another folder")
