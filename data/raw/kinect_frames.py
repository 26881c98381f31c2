"""Readers of BIWI, IAS and KS20, whose raw data are one file a frame."""

import re
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from tqdm import tqdm

from common.errors import InputError
from data.raw.recordings import (
    Recording,
    broken,
    natural_key,
    read_lines,
    require_finite,
    to_numbers,
    visible,
)

BIWI_SETS = {"train": "Training", "Walking": "Testing/Walking", "Still": "Testing/Still"}
IAS_SETS = {"train": "Training", "A": "TestingA", "B": "TestingB"}
KS20_VIEWS = ("frontal", "left_diagonal", "left_lateral", "right_diagonal", "right_lateral")
KS20_BODIES = (*range(1, 5), *range(7, 10), *range(11, 18), *range(19, 25))
KINECT_V1_FIELDS = "id,x,y,z,u,v,TrackingState,QualityFlag"
TRACKING_STATE = 6


def read_biwi(root: Path, joint_order: str) -> list[Recording]:
    """The recordings of `root/{Training,Testing/Walking,Testing/Still}/<number>/`; the number is
    the label.

    A frame's file may go on after its 20 joints. Frames are (n, 20, 3). Raises InputError for a
    broken frame, a missing set and a folder without frames.
    """
    folders = _person_folders(root, BIWI_SETS)
    persons = {}
    for _, folder in folders:
        digits = re.findall(r"\d+", folder.name)
        if len(digits) != 1:
            raise InputError(
                f"{folder}: expected a folder named by a person's number; rename or remove it"
            )
        persons[folder.name] = int(digits[0])
    return _read_persons(root, folders, persons, lines_after_joints=True)


def read_ias(root: Path, joint_order: str) -> list[Recording]:
    """The recordings of `root/{Training,TestingA,TestingB}/<person>/`; frames are (n, 20, 3).

    The label is the place of the folder's name among the names of all three sets, sorted as text: a
    person has one label in all sets, also where one set lacks somebody (docs/FIDELITY.md, line 8).
    Errors as in `read_biwi`.
    """
    folders = _person_folders(root, IAS_SETS)
    names = sorted({folder.name for _, folder in folders})
    return _read_persons(
        root, folders, {name: i for i, name in enumerate(names)}, lines_after_joints=False
    )


def _person_folders(root: Path, sets: dict[str, str]) -> list[tuple[str, Path]]:
    """(split, folder of a person) for every set; the folders are sorted as text (p10 before p2)."""
    found = []
    for split, name in sets.items():
        persons = sorted(path for path in visible(root / name) if path.is_dir())
        if not persons:
            raise InputError(
                f"{root / name}: expected one folder a person, found none; complete the raw data"
            )
        found += [(split, person) for person in persons]
    return found


def _read_persons(
    root: Path, folders: list[tuple[str, Path]], persons: dict[str, int], lines_after_joints: bool
) -> list[Recording]:
    recordings = []
    for split, folder in tqdm(folders, desc=root.name, unit="recording", disable=None, leave=False):
        files = visible(folder, "*skel.txt*")
        if not files:
            raise InputError(
                f"{folder}: expected one ...skel.txt a frame, found none; complete or remove the folder"
            )
        frames = [read_kinect_v1_frame(path, lines_after_joints) for path in files]
        tracked = np.array([frame for frame in frames if frame is not None]).reshape(-1, 20, 3)
        name = folder.relative_to(root).as_posix()
        recordings.append(Recording(name, persons[folder.name], split, tracked))
    return recordings


def read_kinect_v1_frame(path: Path, lines_after_joints: bool) -> np.ndarray | None:
    """The joints (20, 3) of one frame, or None where any of them has TrackingState 0.

    lines_after_joints: whether lines may follow the 20 joints; they are not read.
    """
    table = _read_joint_lines(path, 20, KINECT_V1_FIELDS, lines_after_joints)
    if any(row[TRACKING_STATE] == 0 for row in table):
        return None
    return _coordinates(table, path)


def _read_joint_lines(
    path: Path, joints: int, columns: str, lines_after_joints: bool
) -> list[list[float]]:
    """One row of numbers a joint from comma-separated lines."""
    lines = read_lines(path)
    if len(lines) < joints or (len(lines) > joints and not lines_after_joints):
        raise broken(path, len(lines), f"{joints} lines, one a joint", f"{len(lines)} lines")
    table = []
    for number, line in enumerate(lines[:joints], 1):
        fields = line.split(",")
        if len(fields) != columns.count(",") + 1:
            raise broken(path, number, columns, line)
        table.append(to_numbers(fields, path, number))
    return table


def _coordinates(table: list[list[float]], path: Path) -> np.ndarray:
    """The columns x, y, z after the id, (joints, 3)."""
    for line, row in enumerate(table, 1):
        require_finite(row[1:4], path, line)
    return np.array(table)[:, 1:4]


def read_ks20(root: Path, joint_order: str) -> list[Recording]:
    """The recordings of `root/<view>/<setting>_body<N>_<timestamp>....{txt,mat}`; frames are (n,
    25, 3).

    Each view of a walk is a recording of its own. Body numbers become the labels 0-19. Raises
    InputError for a broken frame, a missing view, a name or body number that does not belong, and a
    frame in both formats.
    """
    walks: dict[tuple[str, str, str], list[Path]] = {}
    for view in KS20_VIEWS:
        files = [
            path for path in sorted((root / view).glob("*")) if path.suffix in (".txt", ".mat")
        ]
        files = [
            path
            for path in files
            if not path.name.startswith(".") and path.stem.lower() != "readme"
        ]
        if not files:
            raise InputError(
                f"{root / view}: expected one .txt or .mat a frame, found none; complete the raw data"
            )
        if len({path.stem for path in files}) < len(files):
            raise InputError(
                f"{root / view}: expected .txt or .mat, found frames in both; remove one of the two"
            )
        for path in files:
            match = re.match(r"(gc[123])_body(\d+)_.", path.name)
            if not match or int(match[2]) not in KS20_BODIES:
                raise InputError(
                    f"{path}: expected <gc1-gc3>_body<N>_<timestamp> with N one of {KS20_BODIES}; "
                    f"remove the file"
                )
            walks.setdefault((view, match[1], match[2]), []).append(path)
    recordings = []
    for (view, setting, body), files in tqdm(walks.items(), desc="KS20", disable=None, leave=False):
        frames = np.array([read_kinect_v2_frame(path) for path in sorted(files, key=natural_key)])
        name = f"{view}/{setting}_body{body}"
        recordings.append(
            Recording(name, KS20_BODIES.index(int(body)), setting, frames, KS20_VIEWS.index(view))
        )
    return recordings


def read_kinect_v2_frame(path: Path) -> np.ndarray:
    """The joints (25, 3) of one frame, from lines `id,x,y,z` or from the one array of a .mat file.

    The array has a joint a row or a joint a column, with or without the id before x, y, z.
    """
    if path.suffix == ".txt":
        return _coordinates(_read_joint_lines(path, 25, "id,x,y,z", lines_after_joints=False), path)
    try:
        arrays = [value for key, value in loadmat(path).items() if not key.startswith("__")]
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError, EOFError) as error:
        raise InputError(
            f"{path}: expected a MATLAB file, found: {error}; repair or remove it"
        ) from error
    joints = [
        a if a.shape[0] == 25 else a.T for a in arrays if a.ndim == 2 and a.dtype.kind in "fiu"
    ]
    joints = [array for array in joints if array.shape in ((25, 3), (25, 4))]
    if len(joints) != 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise InputError(
            f"{path}: expected one array of 25 joints by x, y, z, found {shapes}; repair or remove it"
        )
    frame = joints[0][:, -3:].astype(np.float64)
    if not np.isfinite(frame).all():
        row = int(np.argmin(np.isfinite(frame).all(axis=1)))
        raise broken(path, row + 1, "finite coordinates", str(frame[row].tolist()))
    return frame
