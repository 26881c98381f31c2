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
from data.raw.arrangement import TRAIN, Arrangement
from data.raw.recordings import Recording, broken, read_lines, require_finite, to_numbers, visible

JOINTS = 14
VIEWS = tuple(range(0, 181, 18))
CONDITIONS = ("nm", "cl", "bg")
TRAINING_PERSONS = 62
MATCHING_LENGTHS = (40, 50, 60)
CROSS_VIEW_LENGTHS = (20, 30, 40)
VIDEO_NAME = "<person>-<nm|cl|bg>-<number>-<view 000, 018 ... 180>.{npy,csv,json}"


def read_casia_b(root: Path, joint_order: str) -> list[Recording]:
    """The videos `root/<person>-<condition>-<number>-<view>.{npy,csv,json}`; frames are (n, 14, 3).

    Raises InputError for a broken file, for a name that does not belong and for a video that is
    there twice.
    """
    recordings, seen = [], {}
    for path in tqdm(visible(root), desc="CASIA_B", unit="video", disable=None, leave=False):
        if path.suffix not in READERS:
            continue
        match = re.fullmatch(r"(\d+)-(nm|cl|bg)-(\d+)-(\d+)", path.stem)
        if not match or int(match[4]) not in VIEWS:
            raise InputError(f"{path}: expected a video named {VIDEO_NAME}; rename or remove it")
        if path.stem in seen:
            raise InputError(
                f"{path}: expected one file a video, found {seen[path.stem]} too; remove one"
            )
        seen[path.stem] = path
        frames = READERS[path.suffix](path)
        recordings.append(
            Recording(path.stem, int(match[1]), match[2], frames, view=VIEWS.index(int(match[4])))
        )
    if not recordings:
        raise InputError(
            f"{root}: expected videos named {VIDEO_NAME}, found none; complete the raw data"
        )
    return recordings


def _read_npy(path: Path) -> np.ndarray:
    try:
        return _checked(np.load(path, allow_pickle=False), path)
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path}: expected a NumPy array, found: {error}; repair or remove the file"
        ) from error


def _read_json(path: Path) -> np.ndarray:
    try:
        return _checked(np.array(json.loads(path.read_bytes()), dtype=float), path)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}: expected nested lists (frames x 14 x 3), found: {error}; repair or remove the file"
        ) from error


def _read_csv(path: Path) -> np.ndarray:
    """A frame a line (14 times x,y,z) or a joint a line (x,y,z)."""
    rows = []
    for line, text in enumerate(read_lines(path), 1):
        row = to_numbers(text.split(","), path, line)
        if len(row) not in (3, 3 * JOINTS) or len(row) != len(rows[0] if rows else row):
            raise broken(
                path, line, f"x,y,z of a joint or of {JOINTS} joints", f"{len(row)} numbers"
            )
        require_finite(row, path, line)
        rows.append(row)
    numbers = np.array(rows)
    if numbers.size % (3 * JOINTS):
        raise broken(
            path, len(rows), f"{JOINTS} joints a frame", f"{len(rows) % JOINTS} in the last frame"
        )
    return numbers.reshape(-1, JOINTS, 3)


def _checked(array: np.ndarray, path: Path) -> np.ndarray:
    """A pose array (frames, 14, 3) or (frames, 42) as (frames, 14, 3) float64, all finite."""
    shape = array.shape
    if (
        array.dtype.kind not in "fiu"
        or not array.size
        or shape[1:] not in ((JOINTS, 3), (3 * JOINTS,))
    ):
        raise InputError(
            f"{path}: expected numbers (frames, {JOINTS}, 3), found {array.dtype} {shape}; "
            f"repair or remove the file"
        )
    frames = array.reshape(-1, JOINTS, 3).astype(np.float64)
    finite = np.isfinite(frames).all(axis=(1, 2))
    if not finite.all():
        raise InputError(
            f"{path}: expected finite coordinates, found others in frame {np.argmin(finite)}; "
            f"repair or remove the file"
        )
    return frames


READERS = {".npy": _read_npy, ".csv": _read_csv, ".json": _read_json}


def arrange_protocols(recordings: Sequence[Recording], random: RandomState) -> list[Arrangement]:
    """The matching protocol and, for every view there is, the cross-view protocol. Nothing is
    drawn.

    Raises InputError where there is only one person or one view: then a protocol has nothing to
    train with.
    """
    persons = sorted({recording.person for recording in recordings})
    views = sorted({recording.view for recording in recordings})
    if len(persons) < 2 or len(views) < 2:
        raise InputError(
            f"CASIA_B: expected at least 2 persons and 2 views, found {len(persons)} and "
            f"{len(views)}; add videos"
        )
    trained = set(persons[: min(TRAINING_PERSONS, len(persons) // 2)])
    matching = [
        TRAIN if recording.person in trained else recording.group for recording in recordings
    ]
    tests = tuple(name for name in CONDITIONS if name in matching)
    cross_views = [
        Arrangement(
            ["test" if own.view == view else TRAIN for own in recordings],
            (TRAIN, "test"),
            CROSS_VIEW_LENGTHS,
            view,
        )
        for view in views
    ]
    return [Arrangement(matching, (TRAIN, *tests), MATCHING_LENGTHS), *cross_views]
