"""Readers of users' own recordings: the table of formats, and arrays."""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from skeleton_reid.data.datasets import OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.people import Frame, Person, Poses, follow
from skeleton_reid.data.raw.pose_json import PEOPLE, read_json
from skeleton_reid.data.raw.pose_tables import read_csv, read_ntu
from skeleton_reid.data.raw.recordings import read_text
from skeleton_reid.data.skeleton import FOLDER, Skeleton, read


def read_poses(path: Path, source: OwnData, skeleton: Skeleton, track: str = "") -> Poses:
    """The followed person of a recording. track: who that is; by default see `people.follow`.

    InputError for a file that is damaged or does not hold all joints of its skeleton.
    """
    whole = source.whole_skeleton()
    expected = f"{source.format}, frames of {len(whole)} joints ({whole.name})"
    try:
        frames = list(READERS[source.format](path, source, whole))
    except (ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, csv.Error) as error:
        raise broken(path, expected, repr(error)) from error
    except RecursionError:
        raise broken(path, expected, "lists within lists, thousands deep") from None
    kept = [joint not in source.ignore for joint in whole.joints]
    frames = list(_kept(frames, kept, expected, path))
    if not frames:
        raise broken(path, expected, "no frame")
    try:
        return follow(frames, len(skeleton), source.longest_gap, track)
    except KeyError as error:
        raise broken(path, *error.args[0].split("; found "), "name another one") from None


def csv_rows(path: Path, **options: Any) -> csv.DictReader:
    """The lines of a CSV file by column, separated by commas, semicolons or tabs."""
    lines = read_text(path).splitlines()
    return csv.DictReader(lines, delimiter=max(",;\t", key=(lines or [""])[0].count), **options)


def _kept(frames: Iterable[Frame], kept: list[bool], expected: str, path: Path) -> Iterator[Frame]:
    """The frames with the joints that are kept. InputError for another number of joints."""
    for frame in frames:
        for i, person in enumerate(frame.people):
            count = len(person.pose)
            if count != len(kept):
                alike = [own.stem for own in FOLDER.glob("*.yaml") if len(read(own.stem)) == count]
                like = f", as {' or '.join(sorted(alike))} has" if alike else ""
                raise broken(path, expected, f"{count} joints{like}", "name their skeleton")
            has_place = person.place is not None and len(person.place) == count
            place = person.place[kept] if has_place else None
            frame.people[i] = Person(person.pose[kept], person.track, place)
        yield frame


def _read_array(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """An array (T, J, 2, 3 or 4), also as (T, 3 J) and so on, or with axes of length 1."""
    J = len(skeleton)
    array = np.load(path, allow_pickle=False)
    if isinstance(array, np.lib.npyio.NpzFile):
        names = [source.array] if source.array else array.files
        if len(names) != 1 or names[0] not in array.files:
            found = ", ".join(f"{name} {array[name].shape}" for name in array.files)
            raise broken(path, "one array, or its name as `array`", found, "name one of them")
        array = array[names[0]]
    shape, kind = array.shape, array.dtype
    if array.ndim > 3:
        array = array.squeeze(tuple(i for i, length in enumerate(shape[:-2]) if length == 1))
    if array.ndim == 2 and array.shape[1] in (2 * J, 3 * J, 4 * J):
        array = array.reshape(len(array), J, -1)
    is_pose = array.ndim == 3 and array.shape[2] in (2, 3, 4) and array.size
    if kind.kind not in "fiu" or not is_pose:
        expected = f"numbers (frames, {J} joints of {skeleton.name}, 3)"
        raise broken(path, expected, f"{kind} {shape}", "turn or cut the array to this shape")
    poses = array.astype(np.float64)
    poses = np.insert(poses, 2, 0.0, axis=2) if poses.shape[2] == 2 else poses
    return (Frame([Person(pose)]) for pose in poses)


READERS: dict[str, Callable[[Path, OwnData, Skeleton], Iterable[Frame]]] = {
    "npy": _read_array, "npz": _read_array, "csv": read_csv, "trc": read_csv, "ntu": read_ntu,
    **dict.fromkeys(PEOPLE, read_json)
}
