"""Reader of BIWI and IAS: one file a frame, one line a joint, as Kinect v1 gives them."""

import re
from functools import partial
from pathlib import Path

import numpy as np

from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.recordings import (Recording, finite, read_each, read_joint_lines,
                                               visible)

BIWI_SETS = {"train": "Training", "Walking": "Testing/Walking", "Still": "Testing/Still"}
IAS_SETS = {"train": "Training", "A": "TestingA", "B": "TestingB"}
FIELDS = "id,x,y,z,u,v,TrackingState,QualityFlag"
TRACKING_STATE = 6


def read_kinect_v1(sets: dict[str, str], numbered: bool, root: Path, joint_order: str,
                   jobs: int = 1) -> list[Recording]:
    """A recording a person's folder in `root/<set>/`, of its completely tracked frames (n, 20, 3).

    sets: split -> folder. numbered (BIWI): the folders' numbers are the labels, and a frame's file
    may go on after its 20 joints. Else (IAS) a label is the place of the folder's name among those
    of all sets, sorted as text (docs/5-fidelity.md, ias-folder-order). InputError for a broken
    frame, a missing set and a folder without frames.
    """
    folders = []
    for split, name in sets.items():  # sorted as text: p10 before p2
        persons = sorted(path for path in visible(root / name) if path.is_dir())
        if not persons:
            raise broken(root / name, "one folder a person", "none", "complete the raw data")
        folders += [(split, person) for person in persons]
    names = sorted({folder.name for _, folder in folders})
    labels = [_number(own) if numbered else names.index(own.name) for _, own in folders]
    walks = read_each(partial(_read_walk, numbered), [own for _, own in folders], jobs, root.name)
    return [
        Recording(folder.relative_to(root).as_posix(), label, split, frames)
        for (split, folder), label, frames in zip(folders, labels, walks, strict=True)
    ]


def _read_walk(more: bool, folder: Path) -> np.ndarray:
    files, frames = visible(folder, "*skel.txt*"), []
    if not files:
        raise broken(folder, "one ...skel.txt a frame", "none", "complete or remove it")
    for path in files:
        joints = read_joint_lines(path, 20, FIELDS, more)
        if (joints[:, TRACKING_STATE] != 0).all():
            frames.append(finite(joints[:, 1:4], path))
    return np.array(frames).reshape(-1, 20, 3)


def _number(folder: Path) -> int:
    digits = re.findall(r"\d+", folder.name)
    if len(digits) != 1:
        raise broken(folder, "a folder named by a person's number", "another name", "rename it")
    return int(digits[0])
