"""Hand-made descriptors: the D-13 and D-16 rows of the papers' tables, PoseGait's features (D-PG),
and the mean pose.

The joints are the skeleton's landmarks; a-b is their distance, the height is y, in the unit of the
skeletons. Every value is averaged over the frames of a window. Only differences of positions enter
D-13 and D-16, so centred skeletons give the same values.
"""

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.files import Sequences
from skeleton_reid.data.skeleton import Skeleton, adjacency, get

DESCRIPTORS = ("D-13", "D-16", "D-PG", "mean-pose")
HEIGHTS = {"D-13": ("head", "neck"), "D-16": ("head",)}  # above the feet
LENGTHS = {
    "D-13": "left_shoulder-neck right_shoulder-neck spine-right_shoulder "
    "right_shoulder-right_wrist left_shoulder-left_wrist right_hip-right_knee left_knee-left_hip "
    "neck-spine right_hip-left_hip",
    "D-16": "head-neck spine-neck spine-hip_center right_shoulder-neck right_shoulder-right_elbow "
    "right_elbow-right_wrist neck-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist "
    "right_hip-hip_center right_hip-right_knee right_knee-right_foot left_hip-hip_center "
    "left_hip-left_knee left_knee-left_foot"
}
_THIGHS, _TORSO = (5, 6), 7  # positions in the lengths of D-13


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
        above = y - _line(z, y, z)
        below = above <= max(1e-9, above.min())  # all on an exact line; some on a flat floor
        floor[own] = _line(z[below], y[below], (2, 4))
    return floor


def _line(z: np.ndarray, y: np.ndarray, at: np.ndarray | tuple) -> np.ndarray:
    """The line y(z) that fits best, at some distances; level if all z are one, as in 2D."""
    return np.polyval(np.polyfit(z, y, int(np.ptp(z) > 0)), at)


def descriptor(name: str, skeletons: np.ndarray, skeleton: Skeleton | None = None) -> np.ndarray:
    """Windows (N, f, J, 3) -> (N, d) of the same type; d = 13, 16, 3J for the mean pose, and with
    D-PG 3J and three for every bone.

    skeleton: by default that of published data with so many joints. The mean pose depends on the
    origin: give it centred skeletons. InputError for an unknown name, and for D-13 and D-16 of
    skeletons that lack one of their landmarks.
    """
    if name not in DESCRIPTORS:
        raise InputError(f"unknown descriptor {name!r}; choose one of {', '.join(DESCRIPTORS)}")
    if name == "mean-pose":
        return skeletons.reshape(*skeletons.shape[:2], -1).mean(axis=1)
    skeleton = skeleton or get(skeletons.shape[-2])
    if name == "D-PG":
        return posegait(skeletons, motion=False, skeleton=skeleton).mean(axis=2)
    ends = [pair.split("-") for pair in LENGTHS[name].split()]
    needed = {*HEIGHTS[name], "left_foot", "right_foot", *(end for pair in ends for end in pair)}
    refuse_missing(name, needed, skeleton)
    point = {each: skeleton.mean(skeleton.landmarks[each], skeletons) for each in needed}
    floor = (point["left_foot"] + point["right_foot"])[..., 1] / 2  # (N, f, 1)
    heights = [point[each][..., 1] - floor for each in HEIGHTS[name]]
    lengths = [np.linalg.norm(point[a] - point[b], axis=-1) for a, b in ends]
    if name == "D-16":
        values = lengths + heights
    else:
        values = heights + lengths
        values += [lengths[_TORSO] / np.maximum(lengths[thigh], 0.1) for thigh in _THIGHS]
    return np.concatenate(values, axis=-1).mean(axis=1).astype(skeletons.dtype)  # of (N, f, d)


def refuse_missing(name: str, needed: set[str], skeleton: Skeleton) -> None:
    """InputError if the skeleton lacks some landmarks that the descriptor `name` needs."""
    if missing := sorted(needed - skeleton.landmarks.keys()):
        raise InputError(
            f"{name} needs {', '.join(missing)}, which the skeleton {skeleton.name} of "
            f"{len(skeleton)} joints lacks; use mean-pose, or for recognition LSTM")


def posegait(skeletons: np.ndarray, motion: bool = True,
             skeleton: Skeleton | None = None) -> np.ndarray:
    """PoseGait's hand-made features, a column a frame: (N, f, J, 3) -> (N, R, f) of the same type.

    In this project's reading (docs/05-fidelity.md): R rows are the pose (3J: x of all joints, then
    y and z), two angles and the length of every bone, then the motion (3J; 0 in the last frame):
    123, 177 or 222 rows for 14, 20, 25 joints. A pose is relative to the neck, the joint of both
    shoulders, in units of the distance H from there to the middle of the hips; if that is 0, the
    frame is zeros. InputError for skeletons that lack one of these landmarks.
    """
    skeleton = skeleton or get(skeletons.shape[-2])
    refuse_missing("D-PG", {"neck", "left_hip", "right_hip"}, skeleton)
    neck = skeleton.mean(_joint_of_shoulders(skeleton), skeletons)  # (N, f, 1, 3)
    left, right = (skeleton.mean(skeleton.landmarks[hip], skeletons)
                   for hip in ("left_hip", "right_hip"))
    H = np.linalg.norm(neck - (left + right) / 2, axis=-1, keepdims=True)
    has_size = H > 0
    pose = np.where(has_size, (skeletons - neck) / np.where(has_size, H, 1), 0)
    first, second = _bones_outwards(skeleton).T
    dx, dy, dz = np.moveaxis(pose[:, :, first] - pose[:, :, second], 3, 0)  # (N, f, bones)
    flat = np.hypot(dx, dy)
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.where(dx == 0, np.pi / 2, np.arctan(dy / dx))
        beta = np.where(flat == 0, np.pi / 2, np.arctan(dz / flat))
    angles = np.concatenate([alpha, beta, np.hypot(flat, dz)], axis=2) * has_size[:, :, 0]
    steps = np.zeros_like(pose)
    steps[:, :-1] = pose[:, 1:] - pose[:, :-1]
    columns = [np.moveaxis(pose, 3, 2).reshape(*pose.shape[:2], -1), angles]
    columns += [np.moveaxis(steps, 3, 2).reshape(*pose.shape[:2], -1)] if motion else []
    return np.concatenate(columns, axis=2).transpose(0, 2, 1).astype(skeletons.dtype)


def _joint_of_shoulders(skeleton: Skeleton) -> tuple[str, ...]:
    """The joint with a bone to both shoulders; where there is none, the landmark neck."""
    shoulders = [skeleton.landmarks.get(f"{side}_shoulder", ()) for side in ("left", "right")]
    joined = [{joint for bone in skeleton.bones if set(bone) & set(shoulder) for joint in bone}
              for shoulder in shoulders]
    both = (joined[0] & joined[1]) - {*shoulders[0], *shoulders[1]}
    return tuple(sorted(both)[:1]) or skeleton.landmarks["neck"]


def _bones_outwards(skeleton: Skeleton) -> np.ndarray:
    """The bones (bones, 2) in their order, of each the joint that is nearer to the hips first."""
    from scipy.sparse.csgraph import shortest_path  # here, because --help needs none of it

    hips = ("hip_center",) if "hip_center" in skeleton.landmarks else ("left_hip", "right_hip")
    roots = [number for hip in hips for number in skeleton.numbers(skeleton.landmarks[hip])]
    steps = shortest_path(adjacency("J", skeleton), unweighted=True, indices=roots).min(axis=0)
    return np.array([sorted(skeleton.numbers(bone), key=steps.item) for bone in skeleton.bones])
