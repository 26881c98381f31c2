"""The formats of recorders, in small files as these write them: each is read as what was put in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from recorders import (T, azure_kinect, blazepose, flat, instance, javascript, landmarks, mediapipe,
                       ntu, openpose, put, read, trc, walk)

from skeleton_reid.data.datasets import OwnData
from skeleton_reid.data.raw.pose_files import READERS
from skeleton_reid.data.skeleton import FOLDER, Skeleton
from skeleton_reid.data.skeleton import read as read_skeleton


def one_file(frame: Callable[[np.ndarray], object], wrap: str = "") -> Callable:
    def write(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
        content = [frame(pose) for pose in frames]
        put(path, {wrap: content, "fps": 30} if wrap else content)

    return write


def numbered(frame: Callable[..., dict]) -> Callable:
    """An object with frames that say their number."""
    def write(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
        content = [frame(pose, number=t) for t, pose in enumerate(frames)]
        put(path,
            {"k4abt_sdk_version": "1.1.2", "joint_names": list(skeleton.joints), "frames": content})

    return write


def folder(frame: Callable[[np.ndarray], object]) -> Callable:
    def write(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
        for t, pose in enumerate(frames):
            put(path / f"v2_{t:012d}_keypoints.json", frame(pose))

    return write


def json_lines(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    lines = [json.dumps({"frame_id": t} | mediapipe(pose)) for t, pose in enumerate(frames)]
    put(path, "\n".join(lines) + "\n")


def by_number(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    put(path, {str(t): mediapipe(pose) for t, pose in enumerate(frames)})


def by_image(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    """As AlphaPose writes OpenPose's format."""
    put(path, {f"walk_{t}.jpg": openpose(frame) for t, frame in enumerate(frames)})


def results(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    put(path, [{
        "image_id": f"{t}.jpg", "category_id": 1, "keypoints": flat(pose), "score": 2.9,
        "box": [1, 2, 3, 4]
    } for t, pose in enumerate(frames)])


def coco_results(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    images = [{"id": t, "file_name": f"{t}.jpg"} for t in range(len(frames))]
    put(
        path, {
            "images": images,
            "annotations": [{"image_id": t, "keypoints": flat(pose), "score": 0.9}
                            for t, pose in enumerate(frames)]
        })


def mmpose_video(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    put(
        path, {
            "meta_info": {"dataset_name": "coco"},
            "instance_info": [{"frame_id": t + 1, "instances": [instance(pose)]}
                              for t, pose in enumerate(frames)]
        })


def zed(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    """An object by times, as Stereolabs' export sample writes it."""
    put(
        path, {
            str(1690000000000 + 33 * t): {
                "is_new": True, "body_list": [{
                    "id": 3, "keypoint": pose.tolist(), "keypoint_2d": [[0, 0]] * len(pose),
                    "keypoint_confidence": [87.5] * len(pose)
                }]
            } for t, pose in enumerate(frames)
        })


def nuitrack(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    put(path, [{
        "Timestamp": str(33333 * t), "Skeletons": [{
            "user_id": 1, "joints": [{"type": j, "confidence": 0.75, "real": point}
                                     for j, point in enumerate(landmarks(pose))]
        }]
    } for t, pose in enumerate(frames)])


def ultralytics(pose: np.ndarray) -> list[dict]:
    columns = {"x": pose[:, 0].tolist(), "y": pose[:, 1].tolist(), "visible": [0.9] * len(pose)}
    return [{"name": "person", "class": 0, "confidence": 0.9, "track_id": 1, "keypoints": columns}]


def by_joint(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
    content = [{"time": t / 30, "joints": dict(zip(skeleton.joints, pose.tolist(), strict=True))}
               for t, pose in enumerate(frames)]
    put(path, {"frames": content})


def save(array: Callable[[np.ndarray], object]) -> Callable:
    def write(path: Path, frames: np.ndarray, skeleton: Skeleton) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            np.savez(path, **array(frames))
        else:
            np.save(path, array(frames))

    return write


FORMATS = [
    ("mediapipe", "mediapipe", ".json", 3, one_file(mediapipe)),
    ("mediapipe", "mediapipe", ".json", 3,
     one_file(lambda pose: {"worldLandmarks": pose.ravel().tolist()})),
    ("mediapipe", "json", ".json", 3,
     one_file(lambda pose: {"keypoints": np.insert(pose, 3, 0.9, axis=1).ravel().tolist()})),
    ("mediapipe", "mediapipe", ".json", 3, one_file(javascript)),
    ("mediapipe", "mediapipe", ".json", 3, one_file(landmarks, "frames")),
    ("mediapipe", "mediapipe", ".jsonl", 3, json_lines),
    ("mediapipe", "mediapipe", ".json", 3, by_number),
    ("mediapipe", "mediapipe", "", 3, folder(mediapipe)),
    ("mediapipe", "mediapipe", ".json", 3, one_file(np.ndarray.tolist, "data")),
    ("mediapipe", "mediapipe", ".json", 3,
     one_file(lambda pose: {"worldLandmarks": [np.insert(pose, 3, 0.9, axis=1).tolist()]})),
    ("openpose_coco", "openpose", ".json", 2, by_image),
    ("mediapipe", "blazepose", ".json", 3, one_file(blazepose)),
    ("openpose_body25", "openpose", "", 2, folder(openpose)),
    ("openpose_coco", "openpose", "", 2, folder(openpose)),
    ("halpe_26", "alphapose", ".json", 2, results), ("coco", "alphapose", ".json", 2, results),
    ("coco", "coco", ".json", 2, coco_results), ("coco", "mmpose", ".json", 3, mmpose_video),
    ("coco", "mmpose", "", 3, folder(lambda pose: {"instance_info": [instance(pose)]})),
    ("h36m", "mmpose", ".json", 3, one_file(lambda pose: [instance(pose[None])])),
    ("azure_kinect", "azure_kinect", ".json", 3, numbered(azure_kinect)),
    ("openpose_coco", "zed", ".json", 3, zed), ("kinect_v1", "json", ".json", 3, nuitrack),
    ("kinect_v2", "json", ".json", 3, by_joint), ("coco", "json", "", 2, folder(ultralytics)),
    ("coco", "json", ".json", 2, one_file(ultralytics)),
    ("coco", "json", ".json", 3, lambda path, frames, _: put(path, frames.tolist())),
    ("coco", "json", ".json", 3,
     lambda path, frames, _: put(path, {"fps": 30, "keypoints": frames.tolist()})),
    ("coco", "json", ".json", 3, one_file(lambda pose: {"keypoints_3d": pose.tolist()},
                                          "sequence")),
    ("kinect_v2", "ntu", ".skeleton", 3,
     lambda path, frames, _: put(path, ntu(*([("7", pose)] for pose in frames)))),
    ("halpe_26", "trc", ".trc", 3,
     lambda path, frames, skeleton: put(path, trc(frames, skeleton.joints))),
    ("coco", "npy", ".npy", 3, save(lambda frames: frames.reshape(T, -1))),
    ("coco", "npy", ".npy", 3, save(lambda frames: frames[None])),
    ("coco", "npy", ".npy", 3, save(lambda frames: frames[:, None].astype(np.float32))),
    ("coco", "npy", ".npy", 2, save(lambda frames: frames[..., :2])),
    ("coco", "npy", ".npy", 2, save(lambda frames: frames[..., :2].reshape(T, -1))),
    ("coco", "npy", ".npz", 3, save(lambda frames: {"poses": frames})),
    ("smpl", "npz", ".npz", 3, save(lambda frames: {"poses": frames}))
]


@pytest.mark.parametrize(("skeleton", "form", "ending", "axes", "write"), FORMATS)
def test_a_recording_is_what_was_recorded(described, tmp_path, skeleton, form, ending, axes, write):
    joints = read_skeleton(skeleton)
    frames = walk(len(joints))
    write(tmp_path / "anna" / f"1{ending}", frames, joints)
    (recording,) = read(described(skeleton, form, ending, unit=1.0))
    np.testing.assert_allclose(recording.frames[..., :axes], frames[..., :axes], atol=1e-6)
    assert not recording.frames[..., axes:].any() and recording.lost == {}


def test_every_format_has_a_reader_and_every_skeleton_a_whole_graph():
    form = OwnData.__annotations__["format"]
    assert set(get_args(form)) == set(READERS)
    for path in FOLDER.glob("*.yaml"):
        skeleton = read_skeleton(path.stem)
        joined, known = {skeleton.joints[0]}, set()
        while joined != known:
            known = set(joined)
            joined |= {joint for bone in skeleton.bones if set(bone) & known for joint in bone}
        assert joined == set(skeleton.joints), path.stem
        grouped = sorted(joint for own in skeleton.bodies.values() for joint in own)
        assert grouped == sorted(skeleton.joints), path.stem
