"""Users' own recordings (docs/09-own-data.md): which there are, of whom; lost joints; axes."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import RandomState

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import composed, existing
from skeleton_reid.common.log import data_log
from skeleton_reid.common.yaml_files import expected_one
from skeleton_reid.data.datasets import METRES, NO_TIME, Dataset, OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.people import BEGUN_AGAIN, UNREAD
from skeleton_reid.data.raw.pose_files import read_poses
from skeleton_reid.data.raw.recordings import Recording, read_each, read_text
from skeleton_reid.data.raw.splits import DRAWN, TRAIN, by_group, draw_recordings

RATE_TOLERANCE = 0.1  # of the usual time between frames
NAMED_JOINTS = 5
COUNTED = ("frames with several people", BEGUN_AGAIN, "frames missing", "frames twice")


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

    def name(self, root: Path) -> str:
        """Of the recording in split.json: its path from `root` on, and the track."""
        return os.path.relpath(self.path, root) + (self.track and f" ({self.track})")


def read_own(dataset: Dataset, root: Path, joint_order: str, jobs: int = 1) -> list[Recording]:
    """The described recordings below `root`, in metres with y up; labels are the places of the
    persons' names in order. Frames with lost joints that are not repaired are NaN.

    InputError, with file and place, for what does not fit the description.
    """
    source, recordings, seen = dataset.source, [], {}
    entries = list((_of_table if source.table else _of_pattern)(source, root))
    if not entries:
        expected = f"recordings as {source.recordings or source.table} names them"
        found = "none" if root.is_dir() else "no such folder"
        raise broken(root, expected, found, f"see {source.file}")
    for entry in entries:
        key = entry.person, entry.recording or entry.path, entry.split
        if (twin := seen.setdefault(key, entry)) is not entry:
            hint = "rename one, or write * for {recording}" if entry.recording else "remove a line"
            raise InputError(f"{entry.place}: expected every recording once, found {entry.path} "
                             f"after {twin.path}; {hint}")
        if entry.split not in ("", *DRAWN):
            raise InputError(f"{entry.place}: split: {expected_one(entry.split, DRAWN)}")
    persons = sorted({entry.person for entry in entries})
    every = read_each(partial(read_entry, dataset=dataset), entries, jobs, source.name)
    for entry, own in zip(entries, every, strict=True):
        recordings.append(
            replace(own, name=entry.name(root), person=persons.index(entry.person),
                    person_name=entry.person, group=entry.split))
    _tell(dataset, recordings)
    return recordings


def read_entry(entry: Entry, dataset: Dataset) -> Recording:
    """The recording of an entry as `read_own` reads it, of nobody yet."""
    source, path = dataset.source, entry.path
    own = read_poses(path, source, dataset.skeleton, entry.track)
    if entry.frames not in ("", str(own.written)):
        raise InputError(f"{entry.place}: expected {entry.frames} frames in {path}, "
                         f"found {own.written}")
    causes = lost_joints(own.poses, source)
    frames, lost = repair(own.poses, causes, source.longest_gap)
    axes, signs = turned(source.up)
    frames = frames[..., axes] * signs * METRES.get(source.unit, source.unit or 1.0)
    gone = np.logical_or.reduce(list(causes.values()))  # (T, J)
    somebody = ~gone.all(axis=1)
    return Recording(str(path), -1, "", "", frames, rate=own.rate,
                     lost={name: count for name, count in own.notes.items() if count} | lost,
                     lost_joints=gone[somebody].sum(axis=0), seen=int(somebody.sum()),
                     step=own.step)


def _tell(dataset: Dataset, recordings: Sequence[Recording]) -> None:
    """Log what looks wrong with the recordings. InputError if nothing of them is left."""
    name, joints, count = dataset.name, dataset.skeleton.joints, len(recordings)

    def warn(what: str, having: Sequence[Recording]) -> None:
        if having:
            data_log.warning("%s: %s in %d of %d recordings (first: %s)", name, what, len(having),
                             count, having[0].name)

    unread = sorted({cause for own in recordings for cause in own.lost if UNREAD in cause})
    for cause in (*COUNTED, *unread):
        having = [own for own in recordings if own.lost.get(cause)]
        hint = f" (name another column, or `time: {NO_TIME}`)" if cause in unread else ""
        warn(f"{cause}: {sum(own.lost[cause] for own in having)}{hint}", having)
    nobody = [own for own in recordings if not own.seen]
    if len(nobody) == count:
        raise InputError(f"{name}: expected people, found nobody in {count} recordings "
                         f"({nobody[0].name}: {nobody[0].losses()})")
    warn("nobody is seen", nobody)
    timed = [own for own in recordings if own.step]
    usual = float(np.median([own.step for own in timed] or [0.0]))
    if other := [own for own in timed if abs(own.step - usual) > RATE_TOLERANCE * usual]:
        warn(f"another frame rate ({other[0].step:g} from frame to frame, usually {usual:g})",
             other)
    seen, lost = (sum(getattr(own, what) for own in recordings) for what in ("seen", "lost_joints"))
    often = [i for i in np.argsort(-lost, kind="stable")[:NAMED_JOINTS] if 20 * lost[i] > seen]
    if often and 20 * sum(own.lost.get("dropped", 0) for own in recordings) > seen:
        having = sum(own.lost_joints > 0 for own in recordings)  # (J,) recordings
        each = ", ".join(f"{joints[i]} in {lost[i]} of {seen} frames ({having[i]} of {count} "
                         "recordings)" for i in often)
        never = ", ".join(joints[i] for i in often if 2 * lost[i] > seen) or joints[often[0]]
        words = (f"lost joints end the sequences: {each}; joints that are seldom seen can be left "
                 f"out (ignore: [{never}]), others interpolated (longest_gap)")
        if not any(own.sequences() for own in recordings):
            raise InputError(f"{name}: expected frames with all joints, found none: {words}")
        data_log.warning("%s: %s", name, words)
    if not any(np.nan_to_num(own.frames[..., 2]).any() for own in recordings):
        data_log.warning("%s: z is 0 everywhere: positions are those in a picture", name)


def entry_of(path: Path, dataset: Dataset, person: str | None = None) -> Entry:
    """What the table says of a file, or the end of its path, wherever it is; of nobody where
    neither says it. person: who of several. InputError if that is not clear.
    """
    source, end = dataset.source, composed(path.absolute().as_posix())
    if source.table:
        every = _of_table(source, source.root)
        known = [entry for entry in every if entry.path.resolve() == path.resolve()]
    else:
        match = re.search(f"/{_expression(source.recordings)}$", end)
        known = [Entry(path, source.file, **match.groupdict())] if match else []
    own = [entry for entry in known if entry.person == composed(person or "").strip()] or known
    if len({(entry.person, entry.track) for entry in own}) > 1:
        names = ", ".join(f"{entry.person} (track {entry.track or 'not given'})" for entry in own)
        raise InputError(f"{path}: expected the name of one of its persons in {source.table}, "
                         f"{names}, found {person or 'none'}; give it by --name (Python: person)")
    return own[0] if own else Entry(path, source.file, "")


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
    """The lines of the table, separated by commas, semicolons or tabs."""
    table = existing(root, source.table)
    if not table.is_file():
        raise broken(table, "the table of recordings", "no file", f"see {source.file}")
    lines = read_text(table).splitlines() or [""]
    rows = csv.DictReader(lines, delimiter=max(",;\t", key=lines[0].count), restval="")
    rows.fieldnames = header = [name.strip().lower() for name in rows.fieldnames or ()]
    if missing := {"file", "person"} - set(header):
        raise broken(table, f"the column {min(missing)!r}", ", ".join(header), place="line 1")
    for row in rows:
        place = f"line {rows.line_num}"
        if None in row:
            raise broken(table, f"{len(header)} cells, as in line 1", "more", place=place)
        row = {
            name: cell.strip() if name == "file" else composed(cell.strip())
            for name, cell in row.items()
        }
        for name in ("file", "person"):
            if not row[name].isprintable() or not row[name]:
                raise broken(table, f"the name of a {name}", row[name] or "none", place=place)
        about = {name: row.get(name, "") for name in ("person", "split", "frames", "track")}
        file = row["file"].replace("\\", "/")
        yield Entry(existing(root, file), f"{table}, {place}", **about)


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


def repair(poses: np.ndarray, causes: dict[str, np.ndarray],
           longest_gap: int) -> tuple[np.ndarray, dict[str, int]]:
    """Positions (T, J, 3) of poses (T, J, 4): lost joints interpolated where the gap is short
    enough, other frames NaN. Beside them what was lost, where anything was. causes: `lost_joints`.
    """
    frames, T = poses[..., :3].copy(), len(poses)
    lost = np.logical_or.reduce(list(causes.values()))  # (T, J)
    if not lost.any():
        return frames, {}
    t = np.arange(T)[:, None]
    before = np.maximum.accumulate(np.where(lost, -1, t))  # the last frame that has the joint
    after = np.minimum.accumulate(np.where(lost, T, t)[::-1])[::-1]  # the next
    gap = after - before - 1  # frames, where lost
    repaired = lost & (before >= 0) & (after < T) & (gap <= longest_gap)
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
    if not any(recording.group for recording in recordings):
        return draw_recordings(recordings, random)
    splits = by_group(recordings, random)
    pairs = {(own.person, split) for own, split in zip(recordings, splits, strict=True)}
    times = Counter(person for person, _ in pairs)  # splits of a person
    apart = all(times[person] == 1 for person, split in pairs if split == TRAIN)
    for recording, split in zip(recordings, splits, strict=True):
        if times[recording.person] == 1 and not (apart and split == TRAIN):
            raise InputError(f"{recording.name}: expected recordings of its person in two or more "
                             f"of the splits {', '.join(DRAWN)}, found {split or 'none'} alone; "
                             "add recordings or leave the person out")
    return splits
