"""Reader of BIWI and IAS: one file a frame, one line a joint, as Kinect v1 gives them.

A line has 14 fields (docs/06-formats.md), of which the position and the tracking state are read.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from skeleton_reid.common.log import data_log
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.recordings import (Recording, read_each, read_joints, visible,
                                               whole_frame)

BIWI_SETS = {"train": "Training", "Walking": "Testing/Walking", "Still": "Testing/Still"}
IAS_SETS = {"train": "Training", "A": "TestingA", "B": "TestingB"}
FIELDS = "id,x,y,z,u,v,TrackingState,QualityFlag"  # and more, which nobody needs
POSITION_AND_STATE = (1, 2, 3, 6)
JOINTS = 20
RATE = 10.0  # frames a second, about


def read_kinect_v1(sets: dict[str, str], numbered: bool, root: Path, joint_order: str,
                   jobs: int = 1) -> list[Recording]:
    """A recording a folder with frames below `root/<set>/`, of its completely tracked frames (n,
    20, 3).

    sets: split -> folder. numbered (BIWI): the folders' numbers are the labels, and a frame's file
    may go on after its 20 joints. Else (IAS) a label is the place of the folder's name among those
    of all sets, sorted as text (docs/05-fidelity.md, ias-folder-order). InputError for a broken
    frame and a set without frames. Folders without any are passed over, with a warning.
    """
    walks, persons = {}, {}  # by folder: split and files; the person's name
    for split, name in sets.items():
        own = _walks(root / name)
        walks |= {folder: (split, own[folder]) for folder in sorted(own)}  # as text: p10 before p2
        persons |= {folder: _person(folder, list(own), root / name).name for folder in own}
    names = sorted(set(persons.values()))
    number = _number if numbered else lambda folder, name: names.index(name)
    labels = [number(folder, persons[folder]) for folder in walks]
    read = partial(_read_walk, JOINTS if numbered else None)
    contents = read_each(read, [files for _, files in walks.values()], jobs, root.name)
    return [
        Recording(
            folder.relative_to(root).as_posix(), label, persons[folder], split, frames, rate=RATE)
        for (folder, (split, _)), label, frames in zip(walks.items(), labels, contents, strict=True)
    ]


def _walks(place: Path) -> dict[Path, list[Path]]:
    """The files of the frames in each folder below a set's that has any."""
    walks: dict[Path, list[Path]] = {}
    for path in visible(place, "*/**/*"):
        if "skel.txt" in path.name.lower():
            walks.setdefault(path.parent, []).append(path)
    if not walks:
        raise broken(place, "one folder a person, with one ...skel.txt a frame", "none",
                     "complete the raw data")
    holding = {folder for own in walks for folder in (own, *own.parents)}
    for folder in visible(place):
        if folder.is_dir() and folder not in holding:
            data_log.warning("%s: no ...skel.txt in it: it is passed over", folder)
    return walks


def _person(folder: Path, folders: list[Path], place: Path) -> Path:
    """The person's folder: that of the frames, or the one above where all of these are alike."""
    alike = sum(own.name == folder.name for own in folders) > 1
    return folder.parent if alike and folder.parent != place else folder


def _read_walk(joints: int | None, files: list[Path]) -> np.ndarray:
    """The completely tracked frames (n, 20, 3). joints: the lines that count; None: all do."""
    frames = []
    for path in files:
        rows = read_joints(path, FIELDS, POSITION_AND_STATE, joints)
        if (rows[:, 3] != 0).all():  # 0 also where there is nobody
            frames.append(whole_frame(rows[:, :3], JOINTS, path))
    return np.array(frames).reshape(-1, JOINTS, 3)


def _number(folder: Path, name: str) -> int:
    digits = re.findall(r"\d+", name)
    if len(digits) != 1:
        raise broken(folder, "a folder named by a person's number", "another name", "rename it")
    return int(digits[0])
