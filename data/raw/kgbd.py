"""Reader of KGBD: one file a recording, one line a joint (`Name;x;y;z`), 20 lines a frame.

The files name their joints and list the head first, not in the order of the Kinect SDK that the
skeleton graph and the hip-centring assume. `joint_order` decides which order comes out.
"""

import logging
import re
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.errors import InputError
from data.raw.recordings import Recording, broken, read_lines, require_finite, to_numbers, visible

log = logging.getLogger(__name__)

JOINT_ORDERS = ("kinect", "file")
# fmt: off
KINECT_V1 = (
    "hip center", "spine", "shoulder center", "head",
    "shoulder left", "elbow left", "wrist left", "hand left",
    "shoulder right", "elbow right", "wrist right", "hand right",
    "hip left", "knee left", "ankle left", "foot left",
    "hip right", "knee right", "ankle right", "foot right",
)
# fmt: on
JOINTS = len(KINECT_V1)


@cache
def joint_number(name: str) -> int | None:
    """The joint's place in the Kinect SDK's order, whatever the spelling (`Hip-centro`,
    `HipCenter`).

    None for a name that is no joint.
    """
    letters = (
        re.sub(r"[^a-z]", "", name.lower()).replace("centro", "center").replace("centre", "center")
    )
    side = next((word for word in ("center", "left", "right") if word in letters), "")
    key = f"{letters.replace(side, '', 1)} {side}".strip()
    return KINECT_V1.index(key) if key in KINECT_V1 else None


def read_kgbd(root: Path, joint_order: str) -> list[Recording]:
    """The recordings of `root/PersonNNN/*.txt`; NNN is the label. Frames are (n, 20, 3).

    joint_order: "kinect" puts the named joints into the Kinect SDK's order, "file" keeps the files'
    order. Raises InputError for a broken file, an empty person's folder, and for files that differ
    in their joint order when that order is to be kept. A last frame that is cut off between two
    joints is dropped, with a warning.
    """
    paths = []
    for folder in visible(root, "[Pp]erson*"):
        digits = re.fullmatch(r"person[ _-]?(\d+)", folder.name.lower())
        if not digits:
            raise InputError(f"{folder}: expected a folder named PersonNNN; rename or remove it")
        files = visible(folder, "*.txt")
        if not files:
            raise InputError(
                f"{folder}: expected recordings (*.txt), found none; complete or remove the folder"
            )
        paths += [(int(digits[1]), path) for path in files]

    recordings, cut_off, first_order = [], [], None
    for person, path in tqdm(paths, desc="KGBD", unit="file", disable=None, leave=False):
        order, frames, rest = read_recording(path)
        first_order = first_order or order
        if joint_order == "kinect":
            frames = frames[:, np.argsort(order)]
        elif order != first_order:
            raise InputError(
                f"{path}: expected the joint order of {paths[0][1]}, found another; use --joint_order kinect"
            )
        cut_off += [path] if rest else []
        recordings.append(Recording(f"{path.parent.name}/{path.name}", person, "", frames))
    if cut_off:
        log.warning(
            "KGBD: %d files end within a frame (the first: %s); it is dropped",
            len(cut_off),
            cut_off[0],
        )
    return recordings


def read_recording(path: Path) -> tuple[list[int], np.ndarray, int]:
    """One file: its joint order, its frames, and how many joints of an incomplete last frame were
    dropped.

    The order is given as Kinect numbers, as the file lists the joints; frames (n, 20, 3) keep that
    order. Raises InputError, with file and line, for a line that is not `Name;x;y;z` with finite
    numbers, an unknown or missing joint, and for a file without a complete frame.
    """
    fast = _read_regular(path.read_bytes())
    order, coordinates = fast if fast is not None else _read_by_line(path)
    frames, rest = divmod(len(coordinates), JOINTS)
    return order, coordinates[: frames * JOINTS].reshape(frames, JOINTS, 3), rest


def _read_regular(data: bytes) -> tuple[list[int], np.ndarray] | None:
    """Joint order and coordinates (lines, 3) of a file in which every frame names the same joints
    the same way.

    None where anything is irregular. The whole file is split once and its fields are checked by
    comparing lists: ten times as fast as line by line.
    """
    # Every name keeps the line break before it; with no other break in the file, every line has its
    # four fields.
    data = b"\n" + data.replace(b"\r\n", b"\n").rstrip()
    fields = data.replace(b"\n", b";\n").split(b";")[1:]
    names = fields[::4]
    del fields[::4]
    frame = names[:JOINTS]
    order = [joint_number(name.decode("latin-1")) for name in frame]
    if None in order or sorted(order) != list(range(JOINTS)):
        return None
    if len(fields) != 3 * len(names) or names != (frame * (len(names) // JOINTS + 1))[: len(names)]:
        return None
    if (
        b"\r" in data
        or data.count(b"\n") != len(names)
        or not all(name.startswith(b"\n") for name in frame)
    ):
        return None
    try:
        coordinates = np.fromiter(map(float, fields), float, len(fields))
    except ValueError:
        return None
    return (order, coordinates.reshape(-1, 3)) if np.isfinite(coordinates).all() else None


def _read_by_line(path: Path) -> tuple[list[int], np.ndarray]:
    """The same line by line: slow, tolerant of spelling and blank lines, exact in its errors."""
    order: list[int] = []
    coordinates = []
    for line, text in enumerate(read_lines(path), 1):
        if not text.strip():
            continue
        fields = text.split(";")
        if len(fields) != 4:
            raise broken(path, line, "Name;x;y;z", text)
        number = joint_number(fields[0])
        if number is None:
            raise broken(path, line, "the name of a Kinect joint", fields[0])
        if len(order) < JOINTS:
            if number in order:
                missing = ", ".join(name for i, name in enumerate(KINECT_V1) if i not in order)
                raise broken(
                    path, line, f"each joint once a frame (not seen yet: {missing})", fields[0]
                )
            order.append(number)
        elif number != order[len(coordinates) % JOINTS]:
            expected = KINECT_V1[order[len(coordinates) % JOINTS]]
            raise broken(path, line, f"{expected}, as in the first frame", fields[0])
        xyz = to_numbers(fields[1:], path, line)
        require_finite(xyz, path, line)
        coordinates.append(xyz)
    if len(order) < JOINTS:
        raise broken(path, line, f"{JOINTS} joints a frame", f"{len(order)} in all")
    return order, np.array(coordinates)
