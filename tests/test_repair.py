"""Lost joints and the axes of own data, against loops."""

import numpy as np
import pytest

from skeleton_reid.data.datasets import OwnData
from skeleton_reid.data.raw.own import lost_joints, repair, turned


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_y_is_up_by_a_rotation(up):
    axes, signs = turned(up)
    matrix = np.eye(3)[axes] * np.array(signs)[:, None]
    assert np.linalg.det(matrix) == pytest.approx(1)
    pointing = np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)
    np.testing.assert_array_equal(matrix @ pointing, [0, 1, 0])


def repair_slowly(poses: np.ndarray, longest: int, least: float) -> np.ndarray:
    frames = poses[..., :3].copy()
    for joint in range(frames.shape[1]):
        known = [
            t for t, point in enumerate(poses[:, joint])
            if np.isfinite(point[:3]).all() and point[:3].any() and point[3] >= least
        ]
        for t in set(range(len(frames))) - set(known):
            frames[t, joint] = np.nan
            first = max((k for k in known if k < t), default=None)
            last = min((k for k in known if k > t), default=None)
            if first is not None and last is not None and last - first - 1 <= longest:
                for axis in range(3):
                    ends = poses[[first, last], joint, axis]
                    frames[t, joint, axis] = np.interp(t, [first, last], ends)
    frames[np.isnan(frames).any(axis=(1, 2))] = np.nan
    return frames


@pytest.mark.parametrize("longest", [0, 1, 3, 50])
def test_repairs_equal_slow_ones(longest):
    random = np.random.RandomState(longest)
    poses = random.normal(size=(60, 5, 4))
    poses[random.random_sample((60, 5)) < 0.1] = np.nan
    poses[random.random_sample((60, 5)) < 0.05, :3] = 0
    poses[..., 3] = random.random_sample((60, 5))
    source = OwnData(file="", name="x", skeleton="coco", format="npy", unit="m", up="y", table="t",
                     longest_gap=longest, zeros_are_lost=True, least_confidence=0.05)
    frames, note = repair(poses, lost_joints(poses, source), longest)
    expected = repair_slowly(poses, longest, 0.05)
    np.testing.assert_allclose(frames, expected)
    assert note["dropped"] == np.isnan(expected[:, 0, 0]).sum()
    assert note["repaired"] + note["dropped"] <= 60 and (longest < 3 or note["repaired"] > 0)
