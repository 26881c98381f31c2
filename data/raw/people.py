"""The frames of a recording with the people in them: their order in time, and whom to follow."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from skeleton_reid.data.raw.moments import frames_a_second

LONGEST_LINK = 30  # frames after which somebody is no longer looked for in the same place
REACH = 2.0  # sizes of the body (mean distance from its middle) moved until seen again, at most
SURE = 2.0  # so many times as near must somebody be as anybody else
CLEAR = 0.5  # sizes of the body that others must be away, where somebody was not seen just before
SAME = 0.02  # sizes of the body, within which two people are one that was written twice
MISSED = 1.75  # steps between two frames, from which on one is missing
UNREAD = "that cannot be read"
BEGUN_AGAIN = "numbers or times that begin again"
COARSE = 0.2  # share of frames with the time of the one before, and sizes of the body moved since


class Person(NamedTuple):
    """Somebody in a frame."""

    pose: np.ndarray  # (J, 4): x, y, z and the confidence; of a reader also (J, 3)
    track: str = ""  # who it is, where the format says so
    place: np.ndarray | None = None  # (J, 4) in the image, where poses are centred


Track = dict[int, Person]  # by the frames' places in the recording


@dataclass(frozen=True)
class Frame:
    """What a recorder wrote of one moment."""

    people: list[Person] = field(default_factory=list)
    number: float | None = None  # of the frame, where it is known
    time: float | None = None  # in any unit, where it is known
    unread: str = ""  # what names numbers or times that cannot be read in all frames


MISSING = Frame()


@dataclass(frozen=True)
class Poses:
    """One person in one recording."""

    poses: np.ndarray  # (T, J, 4): x, y, z and the confidence, 1 without any; NaN where not seen
    written: int  # frames in the files
    step: float | None  # from one frame to the next, in the unit of their time or number
    rate: float | None  # frames a second, where times are known
    notes: dict[str, int]  # what was counted


def _in_order(frames: Sequence[Frame],
              gap: int) -> tuple[list[Frame], float | None, dict[str, int]]:
    """The frames by number or time, the step between them, and counts. Those of the same time are
    one frame with several people, or, where these stand in the same place, one that was written
    twice. For missing ones stands MISSING, up to `gap` times in a row.
    """
    known = [key for key in ("number", "time") if _tells_frames(frames, key)]
    merged: dict[float, Frame] = {}
    twice = 0
    for i, frame in enumerate(frames):
        key = getattr(frame, known[0]) if known else i
        twice += key in merged and not frame.people
        own = merged.setdefault(key, replace(frame, people=[])).people
        for one in frame.people:
            same = any(one.track == other.track and _apart(one, other) < SAME for other in own)
            own.extend([] if same else [one])
            twice += same
    ordered = [merged[key] for key in sorted(merged)]
    missing, step = np.zeros(len(ordered), int), None
    for key in known if len(ordered) > 1 else ():
        between = np.diff([getattr(frame, key) for frame in ordered], prepend=np.nan)
        step = float(np.nanquantile(between, 0.5, method="lower"))
        steps = np.nan_to_num(between / (step or np.inf))
        missing = np.maximum(missing, np.where(steps >= MISSED, steps.round() - 1, 0).astype(int))
    result: list[Frame] = []
    for frame, lacking in zip(ordered, missing.tolist(), strict=True):
        result += [MISSING] * min(lacking, gap) + [frame]
    notes = {"frames missing": int(missing.sum()), "frames twice": twice}
    if frames and frames[0].unread:
        notes[f"times ({frames[0].unread}) {UNREAD}"] = len(frames)
    return result, step, notes


def _tells_frames(frames: Sequence[Frame], key: str) -> bool:
    """Whether all frames have it, and it is no clock that is slower than the recorder: then many
    frames share it, and whoever is in them has hardly moved.
    """
    keys = [getattr(frame, key) for frame in frames]
    pairs = [(a.people[0], b.people[0]) for a, b in pairwise(frames)
             if getattr(a, key) == getattr(b, key) and a.people and b.people]
    moved = np.median([_apart(*pair) for pair in pairs if not pair[0].track] or [0.0])
    slow = len(pairs) > COARSE * len(frames) and 0 < moved < COARSE
    return bool(frames) and None not in keys and not slow


def _counted_on(frames: Sequence[Frame]) -> tuple[list[Frame], int]:
    """The frames with numbers and times that go on where they begin again, and how often they do:
    whoever is there alone stays where he or she was. A track for each part ends the sequences.
    """
    people = [frame.people[0] for frame in frames if len(frame.people) == 1]
    if len(people) < len(frames) or any(one.track for one in people):
        return list(frames), 0
    result, again = list(frames), set()
    for key in ("number", "time"):
        values = [getattr(frame, key) for frame in frames]
        if None in values or len(set(values)) == len(values):
            continue
        steps = np.diff(values)
        drops = (np.flatnonzero(steps < 0) + 1).tolist()
        first = [(values.index(values[i]), i) for i in drops]  # of the same number
        stays = all(_apart(people[i - 1], people[i]) < CLEAR for i in drops)
        if 0 in steps or not stays or any(j < i and _apart(people[j], people[i]) < SAME
                                          for j, i in first):
            continue
        steps[steps < 0] = np.median(steps[steps > 0])
        counted = values[0] + np.cumsum([0, *steps])
        result = [
            replace(own, **{key: float(value)}) for own, value in zip(result, counted, strict=True)
        ]
        again |= set(drops)
    parts = np.searchsorted(sorted(again), np.arange(len(frames)), side="right")
    return [
        replace(own, people=[one._replace(track=str(part) if again else "")])
        for own, one, part in zip(result, people, parts, strict=True)
    ], len(again)


def follow(frames: Sequence[Frame], joints: int, longest_gap: int, wanted: str = "") -> Poses:
    """The poses of one person; frames are put in order, missing ones are not seen.

    wanted: the person's track; by default that of the highest sum of confidences. Where tracks are
    not known, somebody is whoever is nearest to where he or she was; what is not clear ends the
    sequence. KeyError for a wanted track that is not there.
    """
    has_times = _tells_frames(frames, "time")
    frames, again = _counted_on(frames)
    frames, step, notes = _in_order(frames, longest_gap + 1)
    notes[BEGUN_AGAIN] = again
    several = sum(len(frame.people) > 1 for frame in frames)
    every = [(t, one) for t, frame in enumerate(frames) for one in frame.people]
    tracks: dict[str, Track] = {}
    unclear: dict[str, set[int]] = {}  # frames at which a track's sequence ends
    if not several and not wanted:
        tracks[""] = dict(every)
        unclear[""] = {t for (_, a), (t, b) in pairwise(every) if a.track != b.track}
    elif any(one.track for _, one in every):
        for t, one in every:
            tracks.setdefault(one.track, {})[t] = one
    else:
        tracks, unclear = _link(frames)
    if wanted and wanted not in tracks:
        raise KeyError(f"the track {wanted}; found {', '.join(tracks)}")
    name = wanted or _clearest(tracks)
    own, ends = tracks.get(name, {}), unclear.get(name, set())
    lost = np.array([[np.nan, np.nan, np.nan, 0.0]] * joints)
    poses = []
    for t in range(len(frames)):
        poses += [lost] * (longest_gap + 1) if t in ends else []  # more than is interpolated
        poses.append(own[t].pose if t in own else lost)
    notes |= {
        "frames with several people": several, "sequences ended as unclear": len(ends),
        "frames with others only": len({t for t, _ in every} - own.keys())
    }
    written = sum(frame is not MISSING for frame in frames)
    return Poses(np.array(poses), written, step,
                 frames_a_second(step) if has_times else None, notes)


def _clearest(tracks: dict[str, Track]) -> str:
    """The track of the highest sum of confidences; of such that are about alike, the one that
    begins first, with the highest confidence.
    """
    seen = {
        name: [np.nan_to_num(one.pose[:, 3]).clip(-1e9, 1e9).mean() for one in track.values()]
        for name, track in tracks.items() if track
    }
    highest = max(map(sum, seen.values()), default=0.0) or 1.0
    return max(
        seen, default="", key=lambda name:
        (round(10 * sum(seen[name]) / highest), -min(tracks[name]), seen[name][0]))


def _link(frames: Sequence[Frame]) -> tuple[dict[str, Track], dict[str, set[int]]]:
    """Tracks of people who are nearest to where they were, and the frames where that is unclear."""
    tracks: dict[str, Track] = {}
    unclear: dict[str, set[int]] = {}
    for t, frame in enumerate(frames):
        live = {name: max(own) for name, own in tracks.items() if t - max(own) <= LONGEST_LINK}
        apart = np.array([[_apart(tracks[name][last], one) for one in frame.people]
                          for name, last in live.items()]).reshape(len(live), len(frame.people))
        apart[apart > REACH] = np.inf
        for i, (name, last) in enumerate(live.items()):
            if np.isfinite(apart[i]).any():
                j = int(apart[i].argmin())
                rivals = [*np.delete(apart[i], j), *np.delete(apart[:, j], i)]
                margin = CLEAR if t - last > 1 else 0.0
                if all(rival > max(SURE * apart[i, j], margin) for rival in rivals):
                    tracks[name][t] = frame.people[j]
                else:
                    unclear.setdefault(name, set()).add(t)
        for one in np.flatnonzero(~np.isfinite(apart).any(axis=0)):
            tracks[f"{t}.{one}"] = {t: frame.people[one]}
    return tracks, unclear


def _apart(before: Person, now: Person) -> float:
    """The mean distance of the joints that both have, in sizes of the body; infinite for none."""
    first, second = (one.pose if one.place is None else one.place for one in (before, now))
    seen = [np.isfinite(pose).all(axis=1) & (pose[:, 3] > 0) for pose in (first, second)]
    both = seen[0] & seen[1]
    if not both.any():
        return np.inf
    body = first[seen[0], :3]
    size = np.linalg.norm(body - body.mean(axis=0), axis=1).mean()
    return np.linalg.norm(first[both, :3] - second[both, :3], axis=1).mean() / max(size, 1e-9)
