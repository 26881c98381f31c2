"""Users' own recordings (docs/9-own-data.md): which there are, of whom; lost joints; axes."""

import logging
import os
import re
from collections import Counter, defaultdict
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
from skeleton_reid.data.datasets import METRES, NO_TIME, Dataset, OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.people import UNREAD
from skeleton_reid.data.raw.pose_files import csv_rows, read_poses
from skeleton_reid.data.raw.recordings import Recording, read_each
from skeleton_reid.data.raw.splits import DRAWN, TRAIN, by_group, draw_recordings

log = logging.getLogger(__name__)

RATE_TOLERANCE = 0.1  # of the usual time between frames
NAMED_JOINTS = 5


@dataclass(frozen=True)
class Entry:
    """What the description says of a recording; empty where it does not."""

    path: Path
    place: str  # that says it
    person: str
    recording: str = ""
    split: str = ""
    frames: str = ""
    track: str = ""


@dataclass(frozen=True)
class Reading:
    """A recording of nobody yet, and what is to be compared between recordings."""

    recording: Recording
    lost: np.ndarray  # (J,) frames of somebody in which each joint is lost
    seen: int  # frames of somebody
    written: int  # frames in the files
    step: float | None  # from frame to frame, in the unit of their time or number


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
    persons = {name: n for n, name in enumerate(sorted({entry.person for entry in entries}))}
    read = partial(_read, dataset=dataset)
    places = [(entry.path, entry.track) for entry in entries]
    readings = list(read_each(read, places, jobs, source.name))
    for entry, reading in zip(entries, readings, strict=True):
        key = entry.person, entry.recording or entry.path, entry.split
        if (twin := seen.setdefault(key, entry)) is not entry:
            raise InputError(f"{entry.place}: expected every recording once, found {entry.path} "
                             f"after {twin.path}; give them names of their own")
        if entry.split not in ("", *DRAWN):
            raise InputError(f"{entry.place}: split: {expected_one(entry.split, DRAWN)}")
        if entry.frames not in ("", str(reading.written)):
            raise InputError(f"{entry.place}: expected {entry.frames} frames in {entry.path}, "
                             f"found {reading.written}")
        name = os.path.relpath(entry.path, root) + (entry.track and f" ({entry.track})")
        person = persons[entry.person]
        about = {"name": name, "person": person, "person_name": entry.person, "group": entry.split}
        recordings.append(replace(reading.recording, **about))
    _tell(dataset, [
        replace(reading, recording=recording)
        for reading, recording in zip(readings, recordings, strict=True)
    ])
    return recordings


def read_recording(path: Path, dataset: Dataset) -> Recording:
    """One file as the data set describes its files, of nobody yet: in metres, y up, repaired."""
    return _read((path, ""), dataset).recording


def _read(place: tuple[Path, str], dataset: Dataset) -> Reading:
    """The recording of a path, of the person with a track."""
    source, (path, track) = dataset.source, place
    own = read_poses(path, source, dataset.skeleton, track)
    frames, lost = repair(own.poses, source)
    axes, signs = turned(source.up)
    frames = frames[..., axes] * signs * (METRES.get(source.unit, source.unit) or 1.0)
    notes = {name: count for name, count in own.notes.items() if count}
    gone = np.logical_or.reduce(list(lost_joints(own.poses, source).values()))  # (T, J)
    somebody = ~gone.all(axis=1)
    recording = Recording(str(path), -1, "", "", frames, rate=own.rate, lost=notes | lost)
    return Reading(recording, gone[somebody].sum(axis=0), int(somebody.sum()), own.written,
                   own.step)


def _tell(dataset: Dataset, readings: Sequence[Reading]) -> None:
    """Log what looks wrong with the recordings. InputError if nothing of them is left."""
    name, joints = dataset.name, dataset.skeleton.joints
    recordings = [reading.recording for reading in readings]

    def warn(what: str, having: Sequence[Recording]) -> None:
        if having:
            log.warning("%s: %s in %d of %d recordings (first: %s)", name, what, len(having),
                        len(readings), having[0].name)

    causes = ["frames with several people", "frames missing", "frames twice"]
    causes += sorted({cause for own in recordings for cause in own.lost if UNREAD in cause})
    for cause in causes:
        count = sum(own.lost.get(cause, 0) for own in recordings)
        hint = f" (name another column, or `time: {NO_TIME}`)" if UNREAD in cause else ""
        warn(f"{cause}: {count}{hint}", [own for own in recordings if own.lost.get(cause)])
    nobody = [own.recording for own in readings if not own.seen]
    if len(nobody) == len(readings):
        why = ", ".join(f"{cause} {count}" for cause, count in nobody[0].lost.items() if count)
        raise InputError(f"{name}: expected people, found nobody in {len(nobody)} recordings "
                         f"({nobody[0].name}: {why})")
    warn("nobody is seen", nobody)
    usual = float(np.median([own.step for own in readings if own.step] or [0.0]))
    other = [own for own in readings if own.step and abs(own.step - usual) > RATE_TOLERANCE * usual]
    if other:
        warn(f"another frame rate ({other[0].step:g} from frame to frame, usually {usual:g})",
             [own.recording for own in other])
    if not any(np.nan_to_num(own.frames[..., 2]).any() for own in recordings):
        log.warning("%s: z is 0 everywhere: positions are those in a picture", name)
    seen, lost = sum(own.seen for own in readings), sum(own.lost for own in readings)
    dropped = sum(own.lost.get("dropped", 0) for own in recordings)
    often = [i for i in np.argsort(-lost, kind="stable")[:NAMED_JOINTS] if 20 * lost[i] > seen]
    if often and 20 * dropped > seen:
        having = sum(own.lost > 0 for own in readings)  # (J,) recordings
        each = ", ".join(f"{joints[i]} in {lost[i]} of {seen} frames ({having[i]} of "
                         f"{len(readings)} recordings)" for i in often)
        never = ", ".join(joints[i] for i in often if 2 * lost[i] > seen) or joints[often[0]]
        words = (f"lost joints end the sequences: {each}; joints that are seldom seen can be left "
                 f"out (ignore: [{never}]), others interpolated (longest_gap)")
        if not any(own.sequences() for own in recordings):
            raise InputError(f"{name}: expected frames with all joints, found none: {words}")
        log.warning("%s: %s", name, words)


def persons_of(paths: Sequence[Path], dataset: Dataset) -> list[str]:
    """Whose recordings some files are, by the table, or by the end of their paths, wherever they
    are. InputError for a file of which neither says it.
    """
    source, known = dataset.source, defaultdict(set)  # names by path
    if source.table:
        for entry in _of_table(source, Path(source.file).parent / source.folder):
            known[entry.path.resolve()].add(entry.person)
    else:
        for path in paths:
            whole = composed(path.absolute().as_posix())
            if match := re.search(f"/{_expression(source.recordings)}$", whole):
                known[path.resolve()].add(match["person"])
    for path in paths:
        if len(names := known[path.resolve()]) != 1:
            raise InputError(f"{path}: expected a file that {source.table or source.recordings} in "
                             f"{source.file} gives a person, found {len(names)}; use --name")
    return [min(known[path.resolve()]) for path in paths]


def _expression(pattern: str) -> str:
    """The regular expression of a pattern of paths."""
    expression = re.escape(composed(pattern)).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
    for name in ("person", "recording", "split"):
        expression = expression.replace(rf"\{{{name}\}}", rf"(?P<{name}>(?!\.)[^/]+)", 1)
        expression = expression.replace(rf"\{{{name}\}}", f"(?P={name})")
    return expression


def _of_pattern(source: OwnData, root: Path) -> Iterator[Entry]:
    """The files that the pattern of paths fits; hidden ones do not count."""
    expression = _expression(source.recordings)
    wild = re.sub("[^/]*[^\0-\x7f][^/]*|{.*?}", "*", source.recordings).replace("[", "[[]")
    for path in sorted(root.glob(wild)):
        match = re.fullmatch(expression, composed(path.relative_to(root).as_posix()))
        folders = [own.is_dir() for own in path.iterdir()] if path.is_dir() else []
        if match and not (folders and all(folders)):  # as Datasets/<name>/ has
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
        names = ("file", "person", "split", "frames", "track")
        file, *others = (row.get(name, "").strip() for name in names)
        person, split, frames, track = map(composed, others)
        for name, value in {"a file": file, "a person": person}.items():
            if not value or not value.isprintable():
                raise broken(table, f"the name of {name}", value or "none", place=place)
        where = f"{table}, {place}"
        about = {"split": split, "frames": frames, "track": track}
        yield Entry(existing(root, file), where, person, **about)


def turned(up: str) -> tuple[list[int], list[int]]:
    """Which axes become x, y (up) and z, and their signs: a rotation."""
    axis, sign = "xyz".index(up[-1]), -1 if up[0] == "-" else 1
    return [axis - 1, axis, (axis + 1) % 3], [1, sign, sign]


def lost_joints(poses: np.ndarray, source: OwnData) -> dict[str, np.ndarray]:
    """Which joints of poses (T, J, 4) are lost, (T, J), by what shows it."""
    positions, confidences = poses[..., :3], poses[..., 3]
    at_zero = (positions == 0).all(axis=-1)
    return {
        "joints without number": ~np.isfinite(positions).all(axis=-1),
        "joints of low confidence": confidences < source.least_confidence,
        "joints not seen": at_zero & (confidences == 0),
        "joints at -1": (positions[..., :2] == -1).all(-1) & np.isin(positions[..., 2], (-1, 0)),
        "joints at zero": at_zero & (source.zeros_are_lost | at_zero.all(axis=1, keepdims=True))
    }


def repair(poses: np.ndarray, source: OwnData) -> tuple[np.ndarray, dict[str, Any]]:
    """Positions (T, J, 3) of poses (T, J, 4): lost joints interpolated where the gap is short
    enough, other frames NaN. Beside them what was lost, where anything was.
    """
    frames, T = poses[..., :3].copy(), len(poses)
    causes = lost_joints(poses, source)
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
