"""CASIA_B: reader of estimated 3D poses (one file a video) and the data set's two protocols.

The papers do not release this step. Decided here: no frames are cut at the ends (videos are short);
the labels are the persons' numbers; training windows overlap by half (all shifts, as the small
Kinect sets have them, would give 80 times the raw data at f = 40); test windows stand back to back.
Matching: the first 62 persons train; with fewer than 124 persons, the first half. Cross-view: the
test view's videos of all persons and conditions, trained on all other views. Both are made at every
length asked for. A view's training set holds the other ten, so cross-view data take about 8 GB a
length for the real videos.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import RandomState
from tqdm import tqdm

from common.errors import InputError
from data.raw.recordings import Recording, broken, read_lines, require_finite, to_numbers, visible
from data.raw.splits import TRAIN, Arrangement

JOINTS = 14
VIEWS = tuple(range(0, 181, 18))
CONDITIONS = ("nm", "cl", "bg")
TRAINING_PERSONS = 62
MATCHING_LENGTHS = (40, 50, 60)
CROSS_VIEW_LENGTHS = (20, 30, 40)
VIDEO_NAME = "<person>-<nm|cl|bg>-<number>-<view 000, 018 ... 180>.{npy,csv,json}"


def read_casia_b(root: Path, joint_order: str) -> list[Recording]:
    """The videos `root/<person>-<condition>-<number>-<view>.{npy,csv,json}`; frames are (n, 14, 3).

    InputError for a broken file, a name that does not belong and a video that is there twice.
    """
    recordings, seen = [], {}
    for path in tqdm(visible(root), desc="CASIA_B", unit="video", disable=None, leave=False):
        if path.suffix not in (".npy", ".csv", ".json"):
            continue
        match = re.fullmatch(r"(\d+)-(nm|cl|bg)-(\d+)-(\d+)", path.stem)
        if not match or int(match[4]) not in VIEWS:
            raise InputError(f"{path}: expected a video named {VIDEO_NAME}; rename or remove it")
        twin = seen.setdefault(path.stem, path)
        if twin is not path:
            raise InputError(f"{path}: expected one file a video, found {twin} too; remove one")
        view = VIEWS.index(int(match[4]))
        recordings.append(Recording(path.stem, int(match[1]), match[2], _read_video(path), view))
    if not recordings:
        raise InputError(f"{root}: expected videos named {VIDEO_NAME}, found none; complete them")
    return recordings


def _read_video(path: Path) -> np.ndarray:
    """(frames, 14, 3) float64, all finite, from an array (frames, 14, 3) or (frames, 42)."""
    if path.suffix == ".csv":
        return _read_csv(path)
    try:
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            array = np.array(json.loads(path.read_bytes()), dtype=float)
    except (ValueError, TypeError, EOFError) as error:
        expected = "a NumPy array" if path.suffix == ".npy" else "nested lists (frames x 14 x 3)"
        raise broken(path, expected, error) from error
    numbers = array.dtype.kind in "fiu" and array.size > 0
    if not numbers or array.shape[1:] not in ((JOINTS, 3), (3 * JOINTS,)):
        expected = f"numbers (frames, {JOINTS}, 3)"
        raise broken(path, expected, f"{array.dtype} {array.shape}")
    frames = array.reshape(-1, JOINTS, 3).astype(np.float64)
    require_finite(frames, path, unit="frame")
    return frames


def _read_csv(path: Path) -> np.ndarray:
    """(frames, 14, 3): a frame a line (14 times x,y,z) or a joint a line (x,y,z)."""
    rows = []
    for line, text in enumerate(read_lines(path), 1):
        rows.append(to_numbers(text.split(","), path, line))
        if len(rows[-1]) not in (3, 3 * JOINTS) or len(rows[-1]) != len(rows[0]):
            expected = f"x,y,z of a joint or of {JOINTS} joints"
            raise broken(path, expected, f"{len(rows[-1])} numbers", f"line {line}")
    numbers = np.array(rows)
    require_finite(numbers, path)
    if numbers.size % (3 * JOINTS):
        last = f"{len(rows) % JOINTS} in the last frame"
        raise broken(path, f"{JOINTS} joints a frame", last, f"line {len(rows)}")
    return numbers.reshape(-1, JOINTS, 3)


def arrange_protocols(recordings: Sequence[Recording], random: RandomState) -> list[Arrangement]:
    """The matching protocol and, for every view, the cross-view protocol. Nothing is drawn.

    InputError where there is only one person or view: then a protocol has nothing to train with.
    """
    persons = sorted({recording.person for recording in recordings})
    views = sorted({recording.view for recording in recordings})
    if len(persons) < 2 or len(views) < 2:
        raise InputError(
            f"CASIA_B: expected at least 2 persons and 2 views, found {len(persons)} and "
            f"{len(views)}; add videos"
        )
    trained = persons[: min(TRAINING_PERSONS, len(persons) // 2)]
    matching = [TRAIN if own.person in trained else own.group for own in recordings]
    tests = tuple(name for name in CONDITIONS if name in matching)
    arrangements = [Arrangement(matching, (TRAIN, *tests), MATCHING_LENGTHS)]
    for view in views:
        splits = ["test" if own.view == view else TRAIN for own in recordings]
        arrangements.append(Arrangement(splits, (TRAIN, "test"), CROSS_VIEW_LENGTHS, view))
    return arrangements
