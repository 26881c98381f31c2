"""CASIA_B: reader of estimated 3D poses (one file a video) and the data set's two protocols.

The papers do not release this step. Training windows overlap by half: all shifts, as the small
Kinect sets have them, would give 80 times the raw data at f = 40. Matching: the first 62 persons
train; with fewer than 124, the first half. Cross-view: the test view's videos of all persons and
conditions, trained on all other views: for the real videos about 8 GB a length.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.recordings import Recording, finite, read_each, read_lines, visible
from skeleton_reid.data.raw.splits import TRAIN, Arrangement, by_view

JOINTS = 14
RATE = 25.0  # frames a second
VIEWS = tuple(range(0, 181, 18))
CONDITIONS = ("nm", "cl", "bg")
TRAINING_PERSONS = 62
MATCHING_LENGTHS, CROSS_VIEW_LENGTHS = (40, 50, 60, 70), (20, 30, 40)
VIDEO_NAME = "<person>-<nm|cl|bg>-<number>-<view 000, 018 ... 180>.{npy,csv,json}"


def read_casia_b(root: Path, joint_order: str, jobs: int = 1) -> list[Recording]:
    """The videos `root/<person>-<condition>-<number>-<view>.{npy,csv,json}`; frames are (n, 14, 3).

    InputError for a broken file, a name that does not belong and a video that is there twice.
    """
    videos: dict[str, tuple[Path, re.Match]] = {}
    for path in (path for path in visible(root) if path.suffix in (".npy", ".csv", ".json")):
        match = re.fullmatch(r"(\d+)-(nm|cl|bg)-(\d+)-(\d+)", path.stem)
        if not match or int(match[4]) not in VIEWS:
            raise broken(path, f"a video named {VIDEO_NAME}", "another name", "rename or remove it")
        if path.stem in videos:
            raise broken(path, "one file a video", f"{videos[path.stem][0]} too", "remove one")
        videos[path.stem] = path, match
    if not videos:
        raise broken(root, f"videos named {VIDEO_NAME}", "none", "complete them")
    contents = read_each(_read_video, [path for path, _ in videos.values()], jobs, "CASIA_B")
    return [
        Recording(name, int(match[1]), match[1], match[2], frames, VIEWS.index(int(match[4])), RATE)
        for (name, (_, match)), frames in zip(videos.items(), contents, strict=True)
    ]


def _read_video(path: Path) -> np.ndarray:
    """Frames (n, 14, 3) float64, all finite, of an array (n, 14, 3) or (n, 42)."""
    try:
        if path.suffix == ".csv":
            array = np.loadtxt(read_lines(path), delimiter=",", ndmin=2)
        elif path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            array = np.array(json.loads(path.read_bytes()), dtype=float)
    except (ValueError, TypeError, EOFError, RecursionError) as error:
        raise broken(path, f"a whole {path.suffix} file of numbers", error) from error
    joint_lines = path.suffix == ".csv" and array.shape[1] == 3 and len(array) % JOINTS == 0
    fits = joint_lines or array.shape[1:] in ((JOINTS, 3), (3 * JOINTS,))
    if not (fits and array.dtype.kind in "fiu" and array.size):
        raise broken(path, f"numbers (frames, {JOINTS}, 3)", f"{array.dtype} {array.shape}")
    return finite(array.reshape(-1, JOINTS, 3).astype(np.float64), path, unit="frame")


def arrange_protocols(recordings: Sequence[Recording]) -> list[Arrangement]:
    """The matching protocol and, for every view, the cross-view protocol. Nothing is drawn.

    InputError where there is only one person or view: then a protocol has nothing to train with.
    """
    persons = sorted({recording.person for recording in recordings})
    views = sorted({recording.view for recording in recordings})
    if len(persons) < 2 or len(views) < 2:
        found = f"{len(persons)} and {len(views)}"
        raise InputError(f"CASIA_B: expected at least 2 persons and 2 views, found {found}")
    trained = persons[:min(TRAINING_PERSONS, len(persons) // 2)]
    matching = [(own, TRAIN if own.person in trained else own.group) for own in recordings]
    tested = {split for _, split in matching}
    names = (TRAIN, *(name for name in CONDITIONS if name in tested))
    own = Arrangement(matching, names, MATCHING_LENGTHS)
    return [own, *by_view(recordings, CROSS_VIEW_LENGTHS, {view: view for view in views})]
