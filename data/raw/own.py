"""Users' own recordings (docs/9-own-data.md): which there are, of whom; lost joints; axes."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import RandomState

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import composed, existing
from skeleton_reid.common.yaml_files import expected_one
from skeleton_reid.data.datasets import Dataset, OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.pose_files import csv_rows, read_poses
from skeleton_reid.data.raw.recordings import Recording, read_each
from skeleton_reid.data.raw.splits import DRAWN, TRAIN, by_group, draw_recordings

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}


@dataclass(frozen=True)
class Entry:
    """What the description says of a recording; empty where it does not."""

    path: Path
    place: str  # that says it
    person: str
    recording: str = ""
    split: str = ""
    frames: str = ""


def read_own(dataset: Dataset, root: Path, joint_order: str, jobs: int = 1) -> list[Recording]:
    """The described recordings below `root`, in metres with y up; labels are the places of the
    persons' names in order. Frames with lost joints that are not repaired are NaN.

    InputError, with file and place, for what does not fit the description.
    """
    source, recordings, seen = dataset.source, [], {}
    entries = list((_of_table if source.table else _of_pattern)(source, root))
    if not entries:
        expected = f"recordings as {source.recordings or source.table} names them"
        raise broken(root, expected, "none", f"see {source.file}")
    persons = sorted({entry.person for entry in entries})
    read = partial(read_recording, dataset=dataset)
    contents = read_each(read, [entry.path for entry in entries], jobs, source.name)
    for entry, recording in zip(entries, contents, strict=True):
        key = entry.person, entry.recording or entry.path, entry.split
        if (twin := seen.setdefault(key, entry)) is not entry:
            raise InputError(f"{entry.place}: expected every recording once, found {entry.path} "
                             f"after {twin.path}; give them names of their own")
        if entry.split not in ("", *DRAWN):
            raise InputError(f"{entry.place}: split: {expected_one(entry.split, DRAWN)}")
        if entry.frames not in ("", str(len(recording.frames))):
            raise InputError(f"{entry.place}: expected {entry.frames} frames in {entry.path}, "
                             f"found {len(recording.frames)}")
        name, person = os.path.relpath(entry.path, root), persons.index(entry.person)
        about = {"name": name, "person": person, "person_name": entry.person, "group": entry.split}
        recordings.append(replace(recording, **about))
    return recordings


def read_recording(path: Path, dataset: Dataset) -> Recording:
    """One file as the data set describes its files, of nobody yet: in metres, y up, repaired."""
    source = dataset.source
    frames, lost = repair(read_poses(path, source, dataset.skeleton), source)
    axes, signs = turned(source.up)
    frames = frames[..., axes] * signs * METRES.get(source.unit, source.unit)
    return Recording(str(path), -1, "", frames, lost=lost)


def _of_pattern(source: OwnData, root: Path) -> Iterator[Entry]:
    """The files that the pattern of paths fits; hidden ones do not count."""
    expression = re.escape(composed(source.recordings)).replace(r"\*\*/", "(.*/)?")
    expression = expression.replace(r"\*", "[^/]*")
    for name in ("person", "recording", "split"):
        expression = expression.replace(rf"\{{{name}\}}", rf"(?P<{name}>(?!\.)[^/]+)", 1)
        expression = expression.replace(rf"\{{{name}\}}", f"(?P={name})")
    wild = re.sub("[^/]*[^\0-\x7f][^/]*|{.*?}", "*", source.recordings).replace("[", "[[]")
    for path in sorted(root.glob(wild)):
        if match := re.fullmatch(expression, composed(path.relative_to(root).as_posix())):
            yield Entry(path, source.file, **match.groupdict())


def _of_table(source: OwnData, root: Path) -> Iterator[Entry]:
    """The lines of the table."""
    table = existing(root, source.table)
    if not table.is_file():
        raise broken(table, "the table of recordings", "no file", f"see {source.file}")
    rows = csv_rows(table, restval="")
    rows.fieldnames = header = [name.strip().lower() for name in rows.fieldnames or ()]
    for name in ("file", "person"):
        if name not in header:
            raise broken(table, f"the column {name!r}", ", ".join(header), place="line 1")
    for row in rows:
        place = f"line {rows.line_num}"
        if None in row:
            raise broken(table, f"{len(header)} cells, as in line 1", "more", place=place)
        names = ("file", "person", "split", "frames")
        file, *others = (row.get(name, "").strip() for name in names)
        person, split, frames = map(composed, others)
        for name, value in {"a file": file, "a person": person}.items():
            if not value or not value.isprintable():
                raise broken(table, f"the name of {name}", value or "none", place=place)
        where = f"{table}, {place}"
        yield Entry(existing(root, file), where, person, split=split, frames=frames)


def turned(up: str) -> tuple[list[int], list[int]]:
    """Which axes become x, y (up) and z, and their signs: a rotation."""
    axis, sign = "xyz".index(up[-1]), -1 if up[0] == "-" else 1
    return [axis - 1, axis, (axis + 1) % 3], [1, sign, sign]


def repair(poses: np.ndarray, source: OwnData) -> tuple[np.ndarray, dict[str, Any]]:
    """Positions (T, J, 3) of poses (T, J, 4): lost joints interpolated where the gap is short
    enough, other frames NaN. Beside them what was lost, where anything was.
    """
    frames, T = poses[..., :3].copy(), len(poses)
    causes = {
        "joints without number": ~np.isfinite(frames).all(axis=-1),
        "joints of low confidence": poses[..., 3] < source.least_confidence,
        "joints at zero": (frames == 0).all(axis=-1) & source.zeros_are_lost
    }
    lost = np.logical_or.reduce(list(causes.values()))  # (T, J)
    if not lost.any():
        return frames, {}
    t = np.arange(T)[:, None]
    before = np.maximum.accumulate(np.where(lost, -1, t))  # the last frame that has the joint
    after = np.minimum.accumulate(np.where(lost, T, t)[::-1])[::-1]  # the next
    gap = after - before - 1  # frames, where lost
    repaired = lost & (before >= 0) & (after < T) & (gap <= source.longest_gap)
    i, j = repaired.nonzero()
    first, last = before[i, j], after[i, j]
    weight = ((i - first) / (last - first))[:, None]
    frames[i, j] = (1 - weight) * frames[first, j] + weight * frames[last, j]
    dropped = (lost & ~repaired).any(axis=1)
    frames[dropped] = np.nan
    counts = {"repaired": lost.any(axis=1) & ~dropped, "dropped": dropped, **causes}
    note = {name: int(where.sum()) for name, where in counts.items()}
    return frames, note | {"longest gap": int(gap[lost].max())}


def as_described(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """The groups of a user's own data; drawn as by `draw_recordings` where none has a group.

    InputError for a person in one split only, unless training is on persons that are not tested.
    """
    known = any(recording.group for recording in recordings)
    splits = (by_group if known else draw_recordings)(recordings, random)
    pairs = {(own.person, split) for own, split in zip(recordings, splits, strict=True)}
    times = Counter(person for person, _ in pairs)  # splits of a person
    apart = all(times[person] == 1 for person, split in pairs if split == TRAIN)
    for recording, split in zip(recordings, splits, strict=True):
        if times[recording.person] == 1 and not (apart and split == TRAIN):
            raise InputError(f"{recording.name}: expected recordings of its person in two or more "
                             f"of the splits {', '.join(DRAWN)}, found {split or 'none'} alone; "
                             "add recordings or leave the person out")
    return splits
