"""What looks wrong in a recording: size, up, rest."""

import numpy as np

from skeleton_reid.data.skeleton import Skeleton

LEAST, MOST = 0.5, 2.6  # metres that a walking person is high, or wide with the arms stretched out
REST = 1e-4  # of that size; a sensor's noise is more
ENDS = ("head", "neck", "left_shoulder"), ("left_foot", "left_knee", "left_hip")


def doubts(frames: np.ndarray, skeleton: Skeleton) -> dict[str, str]:
    """What looks wrong in frames (T, J, 3) in metres with y up, by the key of a description that
    may be wrong; frames that hold NaN do not count.
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
    top, bottom = (next((n for n in names if n in skeleton.landmarks), None) for names in ENDS)
    if top and bottom and len(frames):
        top, bottom = (skeleton.mean(skeleton.landmarks[name], frames) for name in (top, bottom))
        upright = (top - bottom)[..., 1] / np.linalg.norm(top - bottom, axis=-1)  # (T, 1)
        if np.median(upright) < 0.5:
            found["up"] = "heads are not above feet"
    return found
