"""Readers of users' own recordings: the table of formats, and arrays."""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from skeleton_reid.common.errors import in_words
from skeleton_reid.data.datasets import OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.people import Frame, Person, Poses, follow
from skeleton_reid.data.raw.pose_json import FORMS, read_json
from skeleton_reid.data.raw.pose_tables import read_csv, read_ntu
from skeleton_reid.data.skeleton import FOLDER, Skeleton, read

NAMES_OF_JOINTS = ("joints", "joint_names", "names", "keypoint_names")  # arrays beside the poses


def read_poses(path: Path, source: OwnData, skeleton: Skeleton, track: str = "") -> Poses:
    """The followed person of a recording. track: who that is; by default see `people.follow`.

    InputError for a file that is damaged or does not hold all joints of its skeleton.
    """
    whole = source.whole_skeleton()
    expected = f"{source.format}, frames of {len(whole)} joints ({whole.name})"
    kept = [joint not in source.ignore for joint in whole.joints]

    def with_confidence(joints: np.ndarray) -> np.ndarray:
        """The joints that are kept, (J, 4): the confidence is 1 where it is not known."""
        return joints[kept] if joints.shape[1] == 4 else np.insert(joints[kept], 3, 1.0, axis=1)

    try:
        frames = list(READERS[source.format](path, source, whole))
    except (ValueError, TypeError, LookupError, AttributeError, OSError, EOFError,
            csv.Error) as error:
        raise broken(path, expected, in_words(error)) from error
    except RecursionError:
        raise broken(path, expected, "lists within lists, thousands deep") from None
    if not frames:
        raise broken(path, expected, "no frame")
    for people in (frame.people for frame in frames):
        for i, (pose, name, place) in enumerate(people):
            if len(pose) != len(whole):
                alike = sorted(own.stem for own in FOLDER.glob("*.yaml")
                               if len(read(own.stem)) == len(pose))
                like = f", as {' or '.join(alike)} has" if alike else ""
                raise broken(path, expected, f"{len(pose)} joints{like}", "name their skeleton")
            if source.least_confidence and pose.shape[1] == 3:
                raise broken(path, "a confidence of each joint, as least_confidence needs it",
                             "x, y, z alone", "leave least_confidence out")
            has_place = place is not None and len(place) == len(pose)
            people[i] = Person(with_confidence(pose), name,
                               with_confidence(place) if has_place else None)
    try:
        return follow(frames, len(skeleton), source.longest_gap, track)
    except KeyError as error:
        raise broken(path, *error.args[0].split("; found "), "name another one") from None


def _read_array(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """An array (T, J, 2, 3 or 4), also as (T, 3 J) and so on, or with axes of length 1."""
    J = len(skeleton)
    array = np.load(path, allow_pickle=False)
    order = None
    if isinstance(array, np.lib.npyio.NpzFile):
        every = {
            name: array[name] for name in array.files
            if name in (source.array or name, *NAMES_OF_JOINTS)
        }
        names = [source.array] if source.array else array.files
        if len(names) != 1 or names[0] not in array.files:
            found = ", ".join(f"{name} {array[name].shape}" for name in array.files)
            raise broken(path, "one array, or its name as `array`", found, "name one of them")
        joints = next(
            (own
             for name, own in every.items() if name in NAMES_OF_JOINTS and own.dtype.kind == "U"),
            None)
        if joints is not None:
            order = skeleton.places_in(joints.ravel().tolist())
        array = every[names[0]]
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
    poses = poses if order is None else np.insert(poses, poses.shape[1], np.nan, axis=1)[:, order]
    return (Frame([Person(pose)]) for pose in poses)


READERS: dict[str, Callable[[Path, OwnData, Skeleton], Iterable[Frame]]] = {
    "npy": _read_array, "npz": _read_array, "csv": read_csv, "trc": read_csv, "ntu": read_ntu,
    **dict.fromkeys(FORMS, read_json)
}
