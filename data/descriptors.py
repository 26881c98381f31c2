"""Hand-made descriptors: the D-13 and D-16 rows of the papers' tables, and the mean pose.

Joint numbers are the Kinect's (20 or 25 joints); d(a, b) is a distance, y the height, in the unit
of the skeletons. Every value is averaged over the frames of a window. Only differences of positions
enter D-13 and D-16, so centred skeletons give the same values.
"""

import numpy as np

from common.errors import InputError
from data.files import Sequences

DESCRIPTORS = ("D-13", "D-16", "mean-pose")
_FEET = (15, 19)
_D13_PAIRS = ((4, 2), (8, 2), (1, 8), (8, 10), (4, 6), (16, 17), (13, 12), (2, 1), (16, 12))
_THIGHS, _TORSO = [5, 6], [7]  # positions in _D13_PAIRS
_D16_PAIRS = (*((3, 2), (1, 2), (1, 0), (8, 2), (8, 9), (9, 10), (2, 4), (4, 5), (5, 6)),
              *((16, 0), (16, 17), (17, 19), (12, 0), (12, 13), (13, 15)))


def _distances(skeletons: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    """(N, f, J, 3) -> (N, f, pairs)."""
    first, second = np.transpose(pairs)
    return np.linalg.norm(skeletons[:, :, first] - skeletons[:, :, second], axis=-1)


def _above_floor(skeletons: np.ndarray, joints: list[int]) -> np.ndarray:
    """Heights of joints above the mean height of the feet, (N, f, joints)."""
    heights = skeletons[..., 1]  # (N, f, J)
    return heights[:, :, joints] - heights[:, :, _FEET].mean(axis=-1, keepdims=True)


def session(sets: Sequences) -> np.ndarray:
    """The floor's height 2 m and 4 m before the sensor, (N, 2), in each window's recording: height
    and tilt of the sensor, and nothing of the person's body or gait.

    Skeletons in the sensor's coordinates. Two lines y(z): through the lowest joint of every frame,
    then through those below the first. InputError where the windows' recordings are not known.
    """
    if sets.recordings is None:
        raise InputError("session: expected windows of preprocess.py, found no recording_id files")
    heights = sets.skeletons[..., 1]  # (N, f, J)
    is_lowest = heights == heights.min(axis=2, keepdims=True)  # several at equal heights
    distances = (sets.skeletons[..., 2] * is_lowest).sum(axis=2) / is_lowest.sum(axis=2)  # (N, f)
    floor = np.empty((len(sets), 2))
    for recording in np.unique(sets.recordings):
        own = sets.recordings == recording
        y, z = heights[own].min(axis=2).ravel(), distances[own].ravel()  # (frames,)
        below = y <= np.polyval(np.polyfit(z, y, 1), z)
        floor[own] = np.polyval(np.polyfit(z[below], y[below], 1), (2, 4))
    return floor


def descriptor(name: str, skeletons: np.ndarray) -> np.ndarray:
    """Windows (N, f, J, 3) -> (N, d) of the same type; d = 13, 16, or 3J for the mean pose.

    The mean pose depends on the origin: give it centred skeletons. InputError for an unknown name,
    and for D-13 and D-16 of skeletons that are not the Kinect's.
    """
    joints = skeletons.shape[-2]
    if name not in DESCRIPTORS:
        raise InputError(f"unknown descriptor {name!r}; choose one of {', '.join(DESCRIPTORS)}")
    if name == "mean-pose":
        values = skeletons.reshape(*skeletons.shape[:2], -1)  # (N, f, d)
    elif joints not in (20, 25):
        other = "use mean-pose, or for recognition LSTM"
        raise InputError(f"{name} needs a Kinect's 20 or 25 joints, found {joints}; {other}")
    elif name == "D-13":
        lengths = _distances(skeletons, _D13_PAIRS)
        ratios = lengths[..., _TORSO] / np.maximum(lengths[..., _THIGHS], 0.1)
        values = np.concatenate([_above_floor(skeletons, [3, 2]), lengths, ratios], axis=-1)
    else:
        lengths = _distances(skeletons, _D16_PAIRS)
        values = np.concatenate([lengths, _above_floor(skeletons, [3])], axis=-1)
    return values.mean(axis=1).astype(skeletons.dtype)
