"""Hand-made descriptors against the released code's arrays and against loops."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.descriptors import DESCRIPTORS, descriptor, posegait, session
from skeleton_reid.data.files import Sequences
from skeleton_reid.data.loader import load
from skeleton_reid.engine import baselines


@pytest.mark.parametrize("case", ["KS20_probe", "IAS_A", "BIWI_Walking", "KGBD_gallery"])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["D-13", "D-16"])
def test_descriptors_equal_the_released_ones(golden, case, split, name):
    arrays = np.load(golden("loader.npz"))
    expected = arrays[f"{case}__{name.replace('-', '_')}_{split}_first4"]
    np.testing.assert_allclose(descriptor(name, arrays[f"{case}__X_{split}_J_first4"]), expected,
                               atol=2e-6)


# Of 20 and 25 joints; the joint nearer to the hips first. Of 14: the neck is joint 1.
BONES = {
    20: "2-3 2-8 8-9 9-10 10-11 2-4 4-5 5-6 6-7 1-2 0-1 0-16 0-12 16-17 12-13 17-18 18-19 13-14 "
    "14-15",
    25: "2-3 20-8 8-9 9-10 10-11 20-4 4-5 5-6 6-7 1-20 0-1 0-16 0-12 16-17 12-13 17-18 18-19 13-14 "
    "14-15 20-2 11-23 10-24 7-21 6-22",
    14: "1-0 1-2 2-3 3-4 1-5 5-6 6-7 8-1 8-9 9-10 11-1 11-12 12-13"
}
BONES = {
    J: [tuple(map(int, bone.split("-"))) for bone in text.split()] for J, text in BONES.items()
}


def posegait_in_loops(skeletons: np.ndarray) -> np.ndarray:
    J = skeletons.shape[2]
    neck, hips = {20: (2, (12, 16)), 25: (20, (12, 16)), 14: (1, (8, 11))}[J]
    windows = []
    for window in skeletons:
        poses = []
        for p in window:
            H = math.dist(p[neck], (p[hips[0]] + p[hips[1]]) / 2)
            poses.append((p - p[neck]) / H)
        columns = []
        for t, p in enumerate(poses):
            column = [p[j][axis] for axis in range(3) for j in range(J)]
            d = [p[i] - p[j] for i, j in BONES[J]]
            column += [math.atan(y / x) if x else math.pi / 2 for x, y, z in d]
            column += [math.atan(z / math.hypot(x, y)) for x, y, z in d]
            column += [math.hypot(*v) for v in d]
            after = poses[t + 1] if t + 1 < len(poses) else p
            columns.append(column + [after[j][k] - p[j][k] for k in range(3) for j in range(J)])
        windows.append(np.transpose(columns))
    return np.array(windows)


def in_loops(name: str, skeletons: np.ndarray) -> np.ndarray:
    if name == "D-PG":
        rows = 2 * skeletons.shape[2] * 3 + 3 * len(BONES[skeletons.shape[2]])
        return posegait_in_loops(skeletons)[:, :rows - skeletons.shape[2] * 3].mean(axis=2)
    rows = []
    for window in skeletons:
        frames = []
        for p in window:
            floor = (p[15][1] + p[19][1]) / 2
            d = lambda a, b, p=p: float(np.sqrt(((p[a] - p[b])**2).sum()))  # noqa: E731
            if name == "D-13":
                values = [
                    p[3][1] - floor, p[2][1] - floor,
                    d(4, 2),
                    d(8, 2),
                    d(1, 8),
                    d(8, 10),
                    d(4, 6)
                ]
                values += [d(16, 17), d(13, 12), d(2, 1), d(16, 12)]
                values += [d(2, 1) / max(d(16, 17), 0.1), d(2, 1) / max(d(13, 12), 0.1)]
            elif name == "D-16":
                values = [
                    d(3, 2),
                    d(1, 2),
                    d(1, 0),
                    d(8, 2),
                    d(8, 9),
                    d(9, 10),
                    d(2, 4),
                    d(4, 5),
                    d(5, 6)
                ]
                values += [
                    d(16, 0),
                    d(16, 17),
                    d(17, 19),
                    d(12, 0),
                    d(12, 13),
                    d(13, 15), p[3][1] - floor
                ]
            else:
                values = [coordinate for joint in p for coordinate in joint]
            frames.append(values)
        rows.append(np.mean(frames, axis=0))
    return np.array(rows)


@pytest.mark.parametrize("joints", [20, 25])
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_descriptors_equal_loops(joints, name):
    # A scale of 0.05 puts many thighs below the 0.1 that the ratios are cut at.
    for scale in (1.0, 0.05):
        skeletons = np.random.RandomState(1).normal(scale=scale, size=(7, 5, joints, 3))
        np.testing.assert_allclose(descriptor(name, skeletons), in_loops(name, skeletons),
                                   rtol=1e-12)


@pytest.mark.parametrize("name", ["D-13", "D-16"])
def test_a_shift_of_every_frame_changes_nothing(name):
    skeletons = np.random.RandomState(2).normal(size=(4, 6, 20, 3))
    shifted = skeletons + np.random.RandomState(3).normal(size=(4, 6, 1, 3))
    np.testing.assert_allclose(descriptor(name, skeletons), descriptor(name, shifted))


def test_type_and_size():
    skeletons = np.zeros((2, 6, 20, 3), dtype=np.float32)
    sizes = {name: descriptor(name, skeletons).shape for name in DESCRIPTORS}
    assert sizes == {"D-13": (2, 13), "D-16": (2, 16), "D-PG": (2, 117), "mean-pose": (2, 60)}
    assert all(descriptor(name, skeletons).dtype == np.float32 for name in DESCRIPTORS)


@pytest.mark.parametrize(("joints", "rows"), [(14, 123), (20, 177), (25, 222)])
def test_posegait_equals_loops(joints, rows):
    skeletons = np.random.RandomState(1).normal(size=(3, 4, joints, 3))
    ours = posegait(skeletons)
    assert ours.shape == (3, rows, 4)
    np.testing.assert_allclose(ours, posegait_in_loops(skeletons), rtol=1e-10, atol=1e-12)
    without = posegait(skeletons, motion=False)
    np.testing.assert_array_equal(without, ours[:, :rows - 3 * joints])


def test_posegait_of_degenerate_frames():
    """No size: zeros. A bone along an axis: right angles where the quotient has no value."""
    skeletons = np.random.RandomState(1).normal(size=(1, 2, 20, 3))
    skeletons[0, 0] = 0.5
    skeletons[0, 1, 3] = skeletons[0, 1, 2] + [0, 0, 0.3]  # neck to head
    pose = posegait(skeletons, motion=False)[0]
    assert (pose[:, 0] == 0).all() and np.isfinite(pose).all()
    assert pose[60, 1] == pose[60 + 19, 1] == np.pi / 2


def test_session_is_the_floor_of_a_tilted_sensor():
    """Walkers on floors y = a + b z, a foot on the floor and the other lifted by up to 10 cm."""
    rng = np.random.RandomState(0)
    height, tilt = np.array([-0.9, -0.7, -0.9]), np.array([0.02, 0.02, -0.05])
    recordings = np.repeat([7, 3, 5], 30)
    which = np.repeat([0, 1, 2], 30)[:, None, None]
    skeletons = rng.uniform([-1, 0, 0], [1, 1, 0], size=(90, 6, 20, 3))
    skeletons[..., 2] = rng.uniform(1.5, 4.5, size=(90, 6, 1))
    for foot, lift in ((15, 0.0), (19, rng.uniform(0, 0.1, size=(90, 6)))):
        z = skeletons[:, :, foot, 2]
        skeletons[:, :, foot, 1] = height[which[..., 0]] + tilt[which[..., 0]] * z + lift
    floor = session(Sequences(skeletons, np.zeros(90, int), recordings))
    expected = (height[:, None] + tilt[:, None] * [2, 4])[which[:, 0, 0]]
    np.testing.assert_allclose(floor, expected, atol=0.01)
    with pytest.raises(InputError, match="recording_id"):
        session(Sequences(skeletons, np.zeros(90, int)))


@pytest.mark.parametrize("distances", [[2, 3, 4], [0, 0, 0]])
def test_session_on_a_flat_floor(distances):
    """Steps on one height, and a 2D recording, in which all distances are 0."""
    skeletons = np.zeros((1, 3, 20, 3), np.float32)
    skeletons[..., 1], skeletons[..., 2] = 0.1, np.array(distances)[:, None]
    skeletons[..., 5, 1] = 1
    floor = session(Sequences(skeletons, np.zeros(1, int), np.zeros(1, int)))
    np.testing.assert_allclose(floor, [[0.1, 0.1]], atol=1e-6)


def test_bad_input():
    poses = np.zeros((2, 40, 14, 3))
    assert descriptor("mean-pose", poses).shape == (2, 42)
    for name in ("D-13", "D-16"):
        with pytest.raises(InputError, match="14 joints lacks; use mean-pose"):
            descriptor(name, poses)
    with pytest.raises(InputError, match="D-13, D-16, D-PG, mean-pose"):
        descriptor("D-15", poses)


def test_baselines_are_kept_beside_the_windows(write_dataset, tmp_path, monkeypatch):
    write_dataset(tmp_path, "KS20", 6, 3, 12, np.random.RandomState(0))
    sets = load("KS20", "probe", root=tmp_path, shuffle=False, balance=False)
    rows = baselines.kept_baselines(sets, "full")
    with monkeypatch.context() as patch:
        patch.delattr(baselines, "score_descriptor")  # nothing is scored again
        assert baselines.kept_baselines(sets, "full") == rows
    moved = replace(sets, probe=replace(sets.probe,
                                        skeletons=sets.probe.skeletons[..., ::-1].copy()))
    assert baselines.kept_baselines(moved, "full") != rows
    (file,) = tmp_path.rglob(".baselines-*")  # of the windows as they are now
    assert baselines.kept_baselines(sets, "full") == rows
    for damaged in ("{", "[]", "{}", json.dumps(json.loads(file.read_text()) | {"rows": 1})):
        file.write_text(damaged)
        assert baselines.kept_baselines(sets, "full") == rows
    file.unlink()
    file.mkdir()  # nothing can be written, as in a folder that others own
    assert baselines.kept_baselines(sets, "full") == rows


@pytest.mark.parametrize("name", ["window-LDA", "recording-LDA"])
def test_discriminants_of_many_joints_are_refused(name):
    train = SimpleNamespace(skeletons=np.zeros((2, 6, 76, 3), np.float32))
    with pytest.raises(InputError, match=f"{name}: expected at most 75 joints, found 76"):
        baselines.score_descriptor(SimpleNamespace(skeleton=range(76), train=train), name, "full")
