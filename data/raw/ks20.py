"""Reader of KS20: one file a frame, as text or for MATLAB, in a folder a view."""

import re
from pathlib import Path

import numpy as np

from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.moments import natural_key
from skeleton_reid.data.raw.recordings import (Recording, read_each, read_joints, visible,
                                               whole_frame)

VIEWS = ("frontal", "left_diagonal", "left_lateral", "right_diagonal", "right_lateral")
# As numbered by view_0 ... view_4: 0, 30, 90, 130, 180 degrees, from left to right lateral.
TESTED_VIEWS = (2, 1, 0, 3, 4)
BODIES = (*range(1, 5), *range(7, 10), *range(11, 18), *range(19, 25))
JOINTS = 25
RATE = 30.0  # frames a second


def read_ks20(root: Path, joint_order: str, jobs: int = 1) -> list[Recording]:
    """The recordings of `root/<view>/<setting>_body<N>_<timestamp>....{txt,mat}`; frames are (n,
    25, 3). Each view of a walk is a recording of its own. Body numbers become the labels 0-19.

    InputError for a broken frame, a missing view, another name or body, a frame in both formats.
    """
    walks: dict[tuple[str, str, str], list[Path]] = {}
    for view in VIEWS:
        folder = root / view
        files = [path for path in visible(folder) if path.suffix.lower() in (".txt", ".mat")]
        if not files:
            raise broken(folder, "one .txt or .mat a frame", "none", "complete the data")
        if len({path.stem for path in files}) < len(files):
            raise broken(folder, ".txt or .mat", "frames in both", "remove one of the two")
        for path in sorted(files):  # as text: the order of the recordings is that of the papers
            match = re.match(r"(gc[123])_body(\d+)_.", path.name.lower())
            if not match or int(match[2]) not in BODIES:
                raise broken(path, f"<gc1-gc3>_body<N>_<timestamp> with N one of {BODIES}",
                             "another name", "remove the file")
            walks.setdefault((view, match[1], match[2]), []).append(path)
    recordings, contents = [], read_each(_read_walk, walks.values(), jobs, "KS20")
    for (view, setting, body), frames in zip(walks, contents, strict=True):
        name, person = f"{view}/{setting}_body{body}", BODIES.index(int(body))
        recordings.append(
            Recording(name, person, f"body{body}", setting, frames, VIEWS.index(view), RATE))
    return recordings


def _read_walk(files: list[Path]) -> np.ndarray:
    frames = []
    for path in sorted(files, key=lambda path: natural_key(path.name)):
        is_text = path.suffix.lower() == ".txt"
        rows = read_joints(path, "id,x,y,z", (1, 2, 3), JOINTS) if is_text else _read_mat(path)
        frames.append(whole_frame(rows, JOINTS, path))
    return np.array(frames)


def _read_mat(path: Path) -> np.ndarray:
    """x, y, z (25, 3) of the file's one array of 25 joints, in rows or columns, with or without an
    id before them. How the distributed files are laid out is not public (docs/06-formats.md).
    """
    from scipy.io import loadmat  # here, because --help needs none of it
    from scipy.io.matlab import MatReadError

    try:
        arrays = {key: own for key, own in loadmat(path).items() if not key.startswith("__")}
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError, EOFError) as error:
        raise broken(path, "a MATLAB file", error) from error
    numbers = [own for own in arrays.values() if own.ndim == 2 and own.dtype.kind in "fiu"]
    rows = [own if len(own) == JOINTS else own.T for own in numbers]
    rows = [own for own in rows if len(own) == JOINTS and own.shape[1] >= 3]
    if len(rows) != 1:
        found = ", ".join(f"{key} {own.dtype} {own.shape}" for key, own in arrays.items())
        raise broken(path, f"one array of {JOINTS} joints by x, y, z", found)
    first = min(rows[0].shape[1] - 3, 1)  # after an id
    return rows[0][:, first:first + 3].astype(np.float64)
