"""What preprocess.py prints and warns of recordings: size, up, rest, speed, copies, the floor."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import data_log, fit
from skeleton_reid.data.datasets import Dataset
from skeleton_reid.data.files import LARGEST_COORDINATE
from skeleton_reid.data.raw.moments import RATES
from skeleton_reid.data.raw.recordings import Recording
from skeleton_reid.data.skeleton import Skeleton

LEAST, MOST = 0.5, 2.6  # metres that a walking person is high, or wide with the arms stretched out
REST = 1e-4  # of that size; a sensor's noise is more
FASTEST = 4.0  # metres a second of somebody who walks
STRIDE = 10  # frames over which a speed is measured: a sensor's noise is less then
LEAP, BODY_LEAP = 1.0, 0.35  # of that size, from frame to frame: a joint, and half of all joints
OFTEN = 0.1  # share of the frames
SLOW = 10  # frames a second, below which somebody may move farther from frame to frame
HEADS, FEET = ("head", "neck", "left_shoulder"), ("left_foot", "left_knee", "left_hip")
HINTS = {  # what may be wrong in a description
    "unit": "is `unit` right?", "up": "are `up` and `skeleton` right?",
    "recordings": "is `recordings` right?", "zeros_are_lost": "is `zeros_are_lost` right?",
    "time": "are the times and the unit right?",
    "track": "is a lost joint written as a number (`zeros_are_lost`), or are there two people in "
    "turn (`track`)?"
}


def doubts(frames: np.ndarray, skeleton: Skeleton) -> dict[str, str]:
    """What looks wrong in frames (T, J, 3) in metres with y up, by the key of HINTS; frames that
    hold NaN do not count.
    """
    frames = frames[np.isfinite(frames).all(axis=(1, 2))]
    size = np.median(np.ptp(frames, axis=1).max(axis=1)) if len(frames) else 1
    if size == 0:
        return {"recordings": "all joints are at one point"}
    found = {}
    if not LEAST <= size <= MOST:
        found["unit"] = f"people of {float(f'{size:.3g}'):,g} m"
    if len(frames) > 1 and np.ptp(frames, axis=0).max() < REST * size:
        found["recordings"] = "nothing moves"
    zero = (frames[1:] == 0).all(axis=2)  # (T - 1, J); a first frame or a root may be the origin
    if (lost := zero.any(axis=0) & ~zero.all(axis=0)).any():
        joint = lost.argmax()
        found["zeros_are_lost"] = (f"{skeleton.joints[joint]} is at 0, 0, 0 in "
                                   f"{zero[:, joint].sum()} of {len(frames)} frames")
    if len(frames) and _ends(skeleton):
        body = _upwards(frames, skeleton)
        if np.median(body[:, 1] / np.linalg.norm(body, axis=1)) < 0.5:
            found["up"] = "heads are not above feet"
    return found


def doubts_of(own: Recording, skeleton: Skeleton) -> dict[str, str]:
    """The same of a recording, and whether somebody is too fast or leaps."""
    found, speeds = doubts(own.frames, skeleton), _speeds(own, skeleton)
    if speeds and np.median(speeds) > FASTEST:
        found["time"] = f"people walk {np.median(speeds):.1f} m/s at {own.rate:g} frames a second"
    if leap := _leap(own, skeleton):
        found["track"] = f"steps that nobody takes, {leap}"
    return found


def _speeds(own: Recording, skeleton: Skeleton) -> list[float]:
    """Walking speeds of a recording's pieces, in metres a second; none where times are not known.
    """
    pieces = [piece for piece in own.sequences() if own.rate and len(piece) > STRIDE]
    roots = [skeleton.mean(skeleton.root, piece)[:, 0, ::2] for piece in pieces]  # (T, 2), floor
    ways = [np.linalg.norm(root[STRIDE:] - root[:-STRIDE], axis=1) for root in roots]
    return [np.median(way) * own.rate / STRIDE for way in ways]


def _leap(own: Recording, skeleton: Skeleton) -> str:
    """The longest step from one frame to the next that nobody takes, in words: half of all joints
    leap again and again, or one then stays where it is to the last digit, which is no noise.
    """
    longest, words = 0.0, ""
    for piece in (piece for piece in own.sequences() if len(piece) > 1):
        size = np.median(np.ptp(piece, axis=1).max(axis=1)) * max(1, SLOW / (own.rate or SLOW))
        steps = np.linalg.norm(np.diff(piece, axis=0), axis=2)  # (T - 1, J)
        stays = np.vstack([steps[1:] == 0, np.zeros_like(steps[:1], bool)])
        is_leap = (steps > LEAP * size) & stays
        body = np.median(steps, axis=1) > BODY_LEAP * size
        is_leap |= (body & (body.mean() > OFTEN))[:, None]  # who walks to and fro may begin anew
        t, joint = np.unravel_index((steps * is_leap).argmax(), steps.shape)
        if is_leap[t, joint] and steps[t, joint] > longest:
            longest = steps[t, joint]
            words = f"{skeleton.joints[joint]} moves {longest:.3g} m from one frame to the next"
    return words


def _ends(skeleton: Skeleton) -> list[str]:
    """The landmarks of head and feet, or those nearest to them; none where there are none."""
    ends = [
        next((name for name in names if name in skeleton.landmarks), "") for names in (HEADS, FEET)
    ]
    return ends if all(ends) else []


def _upwards(frames: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The way from the lower to the upper of `_ends`, (T, 3)."""
    head, foot = (skeleton.mean(skeleton.landmarks[name], frames) for name in _ends(skeleton))
    return (head - foot)[:, 0]


def report(dataset: Dataset, recordings: Sequence[Recording], splits: Sequence[str]) -> None:
    """Print what is believed of the recordings, and warn of what looks wrong: people of another
    size than people, on their heads, at rest or too fast; copies; a floor that tells persons.
    InputError for coordinates that training would refuse.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for own in recordings:
        if (largest := np.nanmax(abs(own.frames), initial=0)) >= LARGEST_COORDINATE:
            raise InputError(f"{own.name}: expected coordinates below {LARGEST_COORDINATE:g}, "
                             f"found {largest:g}; is `unit` right?")
        for kind, words in doubts_of(own, dataset.skeleton).items():
            # IAS's real y is said to point down, and published data are used as they are
            if dataset.source or kind in ("unit", "recordings", "time"):
                found[kind].append(f"{words} ({own.name})")
    for kind, words in found.items():
        hint = f"; {HINTS[kind]}" if dataset.source else ""
        data_log.warning("%s: %d of %d recordings look wrong: %s%s", dataset.name, len(words),
                         len(recordings), words[0], hint)
    if len({own.person for own in recordings}) == 1:
        data_log.warning("%s: one person: nobody to mistake for, all figures are 100", dataset.name)
    _report_people(dataset, recordings)
    _report_floor(dataset.name, recordings)
    _report_copies(dataset.name, recordings, splits)


def _report_people(dataset: Dataset, recordings: Sequence[Recording]) -> None:
    """Print medians over the recordings: height, head above feet, rate, walking speed."""
    skeleton, ends = dataset.skeleton, _ends(dataset.skeleton)
    pieces = [piece for own in recordings for piece in own.sequences()]
    rates = [own.rate for own in recordings for _ in own.sequences() if own.rate]
    speeds = [speed for own in recordings for speed in _speeds(own, skeleton)]
    above = [np.median(_upwards(piece, skeleton)[:, 1]) for piece in pieces if ends]
    values = {
        "height": ([np.median(np.ptp(piece[..., 1], axis=1)) for piece in pieces], "m"),
        " above ".join(ends).replace("_", " "): (above, "m"), "walking": (speeds, "m/s"),
        "rate": (rates, "frames a second")
    }
    words = ", ".join(f"{name} {np.median(own):.2f} {unit}" for name, (own, unit) in values.items()
                      if own)
    steps = [own.step for own in recordings if own.rate == 0]
    unknown = "; frames a second: not known" if dataset.source and not rates else ""
    if unknown and steps:
        unknown += (f" ({steps[0]:g} from one time to the next, in no unit {RATES[0]} to "
                    f"{RATES[1]} a second)")
    print(fit(f"{dataset.name}: {words} (medians){unknown}"))


def _report_floor(name: str, recordings: Sequence[Recording]) -> None:
    """Print how the floor's height before the sensor differs between persons and within a person's
    recordings; warn where it tells persons (docs/05-fidelity.md, session-in-coordinates).
    """
    heights: dict[int, list[float]] = defaultdict(list)
    for own in (own for own in recordings if own.sequences()):
        heights[own.person].append(np.nanmean(own.frames[..., 1].min(axis=1)))
    several = [own for own in heights.values() if len(own) > 1]
    if len(several) > 1:
        between = np.std([np.mean(own) for own in several], ddof=1)
        within = np.mean([np.var(own, ddof=1) for own in several])**0.5
        words = f"height of the floor: {between:.3f} m between persons, {within:.3f} m within"
        print(fit(f"{name}: {words}"))
        if between > 3 * within:
            data_log.warning("%s: that alone tells persons; see evaluate.py --features session",
                             name)


def _report_copies(name: str, recordings: Sequence[Recording], splits: Sequence[str]) -> None:
    """Warn of identical recordings, which are kept (docs/05-fidelity.md, copied-walks)."""
    seen: dict[bytes, str] = {}
    twins = []
    for recording, split in zip(recordings, splits, strict=True):
        key = hashlib.sha1(np.ascontiguousarray(recording.frames), usedforsecurity=False).digest()
        own = f"{recording.name} ({split})"
        if len(recording.frames) and seen.setdefault(key, own) != own:
            twins.append(f"{seen[key]} and {own}")
    if twins:
        more = f" and {len(twins) - 3} pairs more" if len(twins) > 3 else ""
        data_log.warning("%s: %s%s are identical; all are kept", name, ", ".join(twins[:3]), more)
