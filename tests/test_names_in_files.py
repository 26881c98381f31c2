"""Joints are those that a file names, wherever it does: never by their places alone."""

import numpy as np
import pytest
from recorders import landmarks, put, read, refused_reading, walk

from skeleton_reid.data.skeleton import read as read_skeleton

COCO = read_skeleton("coco").joints


@pytest.mark.parametrize("key", ["name", "type", "part", "joint", "id"])
def test_a_list_of_named_joints_in_another_order(described, tmp_path, key):
    frames = walk(17)
    names = range(17) if key == "id" else COCO
    put(tmp_path / "anna" / "1.json", [{
        "joints": [{key: name} | point
                   for name, point in zip(names, landmarks(pose), strict=True)][::-1]
    } for pose in frames])
    (recording,) = read(described("coco", "json", ".json"))
    np.testing.assert_allclose(recording.frames, frames)


def test_names_of_another_skeleton_are_refused(described, tmp_path):
    points = [{"type": f"J{i}"} | point for i, point in enumerate(landmarks(walk(17)[0]))]
    put(tmp_path / "anna" / "1.json", [{"joints": points}])
    said = refused_reading(described("coco", "json", ".json"))
    assert "17 joints by names, among them J0, J1, J2, J3, which is no joint of coco" in said


def test_joint_names_are_those_of_the_files(described, tmp_path):
    frames, short = walk(17), {joint: joint.replace("left_", "L") for joint in COCO}
    put(tmp_path / "anna" / "1.json",
        [{"joints": dict(zip(short.values(), pose, strict=True))} for pose in frames.tolist()])
    (recording,) = read(described("coco", "json", ".json", joint_names=short))
    np.testing.assert_allclose(recording.frames, frames)


def test_keys_of_another_skeleton_are_refused_though_one_is_known(described, tmp_path):
    points = {name.replace("_", " of "): (0, 1, 2) for name in COCO}
    put(tmp_path / "anna" / "1.json", [{"joints": points}])
    said = refused_reading(described("coco", "json", ".json"))
    assert "17 joints by names, among them left of eye" in said and "give `joint_names`" in said


def test_names_before_the_frames(described, tmp_path):
    joints, frames = read_skeleton("azure_kinect").joints, walk(32)
    content = {
        "joint_names": joints[::-1],
        "frames": [{"bodies": [{"body_id": 1, "joint_positions": pose[::-1].tolist()}]}
                   for pose in frames]
    }
    put(tmp_path / "anna" / "1.json", content)
    (recording,) = read(described("azure_kinect", "azure_kinect", ".json", unit=1.0))
    np.testing.assert_allclose(recording.frames, frames)
    put(tmp_path / "anna" / "1.json", content | {"joint_names": [f"J{i}" for i in range(32)]})
    assert "is no joint of azure_kinect" in refused_reading(
        described("azure_kinect", "azure_kinect", ".json", unit=1.0))


def test_names_beside_an_array(described, tmp_path):
    frames = walk(17)
    (tmp_path / "anna").mkdir()
    np.savez(tmp_path / "anna" / "1.npz", poses=frames[:, ::-1], joints=COCO[::-1])
    (recording,) = read(described("coco", "npz", ".npz", array="poses"))
    np.testing.assert_allclose(recording.frames, frames)


def lines(frames: np.ndarray, names: list) -> str:
    rows = [
        f"{t},{name},{x},{y},{z}" for t, pose in enumerate(frames.tolist())
        for name, (x, y, z) in zip(names, pose, strict=True)
    ]
    return "\n".join(["frame,what,x,y,z", *rows[::-1]])


@pytest.mark.parametrize(("names", "changes"),
                         [(COCO, {}), (range(17), {"joint": "what"}),
                          (range(1, 18), {"joint": "what"}),
                          ([f"Landmark.{n.upper()}" for n in COCO], {"joint": "what"})])
def test_a_line_a_joint_in_another_order(described, tmp_path, names, changes):
    frames = walk(17)
    put(tmp_path / "anna" / "1.csv", lines(frames, names))
    (recording,) = read(described("coco", "csv", ".csv", columns="{axis}", **changes))
    np.testing.assert_allclose(recording.frames, frames)


def test_a_line_a_joint_of_names_with_a_dot(described, tmp_path):
    frames, names = walk(17), [f"L.{16 - i}" for i in range(17)]
    put(tmp_path / "anna" / "1.csv", lines(frames, names))
    keys = {"joint": "what", "joint_names": dict(zip(COCO, names, strict=True))}
    (recording,) = read(described("coco", "csv", ".csv", columns="{axis}", **keys))
    np.testing.assert_allclose(recording.frames, frames)


def test_a_line_a_joint_of_unknown_names(described, tmp_path):
    put(tmp_path / "anna" / "1.csv", lines(walk(17), [f"p{i}" for i in range(17)]))
    said = refused_reading(described("coco", "csv", ".csv", columns="{axis}", joint="what"))
    assert "expected joints of coco, found p0, p1, p10, p11, p12; `joint_names` says" in said


def test_more_numbered_joints_than_the_skeleton_has(described, tmp_path):
    frames = walk(33)
    put(tmp_path / "anna" / "1.csv", lines(frames, range(33)))
    said = refused_reading(described("coco", "csv", ".csv", columns="{axis}", joint="what"))
    assert "expected 17 numbered joints (coco), found 33; name their `skeleton`" in said
    head = ",".join(f"j{i}_{axis}" for i in range(33) for axis in "xyz")
    rows = [",".join(map(str, pose.ravel())) for pose in frames]
    put(tmp_path / "anna" / "1.csv", "\n".join([head, *rows]))
    said = refused_reading(described("coco", "csv", ".csv", columns="j{joint}_{axis}"))
    assert "expected 17 numbered joints (coco), found 33; name their `skeleton`" in said


def test_lost_joints_are_no_picture(described, tmp_path, caplog):
    put(tmp_path / "anna" / "1.json", [{"joints": {"nose": (0, 1, 2)}}] * 3)
    assert "found none: lost joints" in refused_reading(described("coco", "json", ".json"))
    assert "in a picture" not in caplog.text
