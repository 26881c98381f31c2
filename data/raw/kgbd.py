"""Reader of KGBD: one file a recording, one line a joint (`Name;x;y;z`), 20 lines a frame.

The files name their joints and list the head first, not in the order of the Kinect SDK that the
skeleton graph and the hip-centring assume. `joint_order` decides which order comes out.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from skeleton_reid.common.log import data_log
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.recordings import Recording, finite, read_each, read_lines, visible
from skeleton_reid.data.skeleton import read

JOINT_ORDERS = ("kinect", "file", "later")
MIRRORED = (*range(4), *range(8, 12), *range(4, 8), *range(16, 20), *range(12, 16))


def spelled_alike(name: str) -> str:
    """A joint's name in one spelling: `Hip-centro` and `HipCenter` are "hip center"."""
    letters = re.sub(r"cent(ro|re)", "center", re.sub(r"[^a-z]", "", name.lower()))
    side = next((word for word in ("center", "left", "right") if word in letters), "")
    return f"{letters.replace(side, '', 1)} {side}".strip()


KINECT_V1 = tuple(map(spelled_alike, read("kinect_v1").joints))
JOINTS = len(KINECT_V1)
RATE = 30.0  # frames a second


@cache
def joint_number(name: str) -> int | None:
    """The joint's place in the Kinect SDK's order, in any spelling; None if none."""
    key = spelled_alike(name)
    return KINECT_V1.index(key) if key in KINECT_V1 else None


def read_kgbd(root: Path, joint_order: str, jobs: int = 1) -> list[Recording]:
    """The recordings of `root/PersonNNN/*.txt`; NNN is the label. Frames are (n, 20, 3).

    joint_order: "kinect" puts the named joints into the Kinect SDK's order, "later" exchanges left
    and right in it (docs/05-fidelity.md, head-as-origin), "file" keeps the files' order. InputError
    for a broken file, an empty person's folder, and for files that differ in the order that is to
    be kept. A last frame that is cut off is dropped, with a warning.
    """
    paths = []
    for folder in visible(root, "[Pp]erson*"):
        digits = re.fullmatch(r"person[ _-]?(\d+)", folder.name.lower())
        if not digits:
            raise broken(folder, "a folder named PersonNNN", "another name", "rename or remove it")
        files = visible(folder, "*.txt")
        if not files:
            raise broken(folder, "recordings (*.txt)", "none", "complete or remove the folder")
        paths += [(int(digits[1]), path) for path in files]

    recordings, cut_off, first_order = [], [], None
    contents = read_each(read_recording, [path for _, path in paths], jobs, "KGBD")
    for (person, path), (order, frames, rest) in zip(paths, contents, strict=True):
        first_order = first_order or order
        if joint_order != "file":
            frames = frames[:, np.argsort(order)]
            frames = frames[:, MIRRORED] if joint_order == "later" else frames
        elif order != first_order:
            raise broken(path, f"the joint order of {paths[0][1]}", "another",
                         "use --joint_order kinect")
        cut_off += [path] if rest else []
        recordings.append(
            Recording(f"{path.parent.name}/{path.name}", person, path.parent.name, "", frames,
                      rate=RATE))
    if cut_off:
        data_log.warning("KGBD: %d files end within a frame (the first: %s); it is dropped",
                         len(cut_off), cut_off[0])
    return recordings


def read_recording(path: Path) -> tuple[list[int], np.ndarray, int]:
    """One file: the order of its joints as Kinect numbers, its frames (n, 20, 3) in that order, and
    how many joints of an incomplete last frame were dropped.

    InputError, with file and line, for a line that is not `Name;x;y;z` with finite numbers, an
    unknown or missing joint, and for a file without a complete frame.
    """
    names, points = [], []
    for number, line in enumerate(read_lines(path), 1):
        name, *point = line.split(";")
        try:
            points.append(list(map(float, point)))
        except ValueError:
            point = []
        if len(point) != 3:
            raise broken(path, "Name;x;y;z", line, place=f"line {number}")
        names.append(name)
    order = _joint_order(names, path)
    frames, rest = divmod(len(names), JOINTS)
    points = finite(np.array(points), path)
    return order, points[:frames * JOINTS].reshape(frames, JOINTS, 3), rest


def _joint_order(names: Sequence[str], path: Path) -> list[int]:
    """The Kinect numbers of the first frame's joints, which every frame must repeat."""
    numbers = [joint_number(name) for name in names]
    order = numbers[:JOINTS]
    for i, number in enumerate(numbers):
        if i < JOINTS and (number is None or number in order[:i]):
            raise broken(path, "each joint once a frame", names[i], place=f"line {i + 1}")
        if number != order[i % JOINTS]:
            expected = f"{KINECT_V1[order[i % JOINTS]]}, as in the first frame"
            raise broken(path, expected, names[i], place=f"line {i + 1}")
    if len(order) < JOINTS:
        raise broken(path, f"{JOINTS} joints a frame", f"{len(order)} in all", place="end")
    return order
