"""What recorders write, for the tests of formats: a made-up walk in the shape of each."""

import json
from pathlib import Path

import numpy as np
import pytest

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.data.raw.own import read_own
from skeleton_reid.data.raw.recordings import Recording

T = 14
KEYPOINTS = {"hand_left_keypoints_2d": [], "face_keypoints_2d": []}


def walk(joints: int, seed: int = 0, frames: int = T) -> np.ndarray:
    """(frames, joints, 3), a body that moves a little from frame to frame."""
    random = np.random.RandomState(seed)
    body = random.normal(size=(joints, 3)).round(2)
    steps = 0.02 * np.arange(frames)[:, None, None] + random.normal(0, 0.01, (frames, joints, 3))
    return (body + steps + np.array([0, 0, 3])).round(3)


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8", newline="")


def read(path: Path) -> list[Recording]:
    """The recordings that a description names."""
    dataset = datasets.get(str(path))
    return read_own(dataset, path.parent, "")


def refused_reading(description: Path) -> str:
    """What is said where the recordings that a description names cannot be read."""
    with pytest.raises(InputError) as error:
        read(description)
    return str(error.value)


def flat(pose: np.ndarray, seen: float = 0.7) -> list[float]:
    """x, y, c, … of a pose, as in a picture."""
    return np.insert(pose[:, :2], 2, seen, axis=1).ravel().tolist()


def landmarks(pose: np.ndarray, name: str = "visibility") -> list[dict]:
    return [dict(zip("xyz", point, strict=True)) | {name: 0.9} for point in pose.tolist()]


def mediapipe(pose: np.ndarray) -> dict:
    return {
        "pose_landmarks": [landmarks(0 * pose + 0.5)], "pose_world_landmarks": [landmarks(pose)]
    }


def javascript(pose: np.ndarray) -> dict:
    return {"landmarks": [landmarks(0 * pose + 0.5)], "worldLandmarks": [landmarks(pose)]}


def blazepose(pose: np.ndarray) -> list[dict]:
    named = [each | {"name": "nose"} for each in landmarks(pose, "score")]
    return [{"score": 0.8, "keypoints": landmarks(300 * pose, "score"), "keypoints3D": named}]


def openpose(*people: np.ndarray, seen: float = 0.7) -> dict:
    return {
        "version": 1.3, "people": [
            {"person_id": [-1], "pose_keypoints_2d": flat(pose, seen), "pose_keypoints_3d": []}
            | KEYPOINTS for pose in people
        ]
    }


def azure_kinect(*people: np.ndarray, number: int = 0) -> dict:
    bodies = [{"body_id": i, "joint_positions": pose.tolist(), "joint_orientations": []}
              for i, pose in enumerate(people, 1)]
    return {
        "timestamp_usec": 33333 * number, "frame_id": number, "num_bodies": len(people),
        "bodies": bodies
    }


def instance(pose: np.ndarray) -> dict:
    return {
        "keypoints": pose.tolist(), "keypoint_scores": [0.8] * len(pose), "bbox": [[1, 2, 3, 4]],
        "bbox_score": 0.9
    }


def ntu(*frames: list[tuple[str, np.ndarray]]) -> str:
    lines = [str(len(frames))]
    for people in frames:
        lines.append(str(len(people)))
        for track, pose in people:
            lines += [f"{track} 0 1 1 1 1 0 0.02 -0.1 2", str(len(pose))]
            lines += [
                " ".join(map(str, point)) + " 280.1 220 1000 500 0 0 0 1 2"
                for point in pose.tolist()
            ]
    return "\n".join(lines) + "\n"


def trc(frames: np.ndarray, names: tuple[str, ...]) -> str:
    """As OpenSim's tools write it: five lines, joints over X1 Y1 Z1, an empty line."""
    lines = [
        "PathFileType\t4\t(X/Y/Z)\twalk.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame"
        "\tOrigNumFrames", f"60\t60\t{len(frames)}\t{len(names)}\tm\t60\t1\t{len(frames)}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{a}{i}" for i in range(1,
                                                    len(names) + 1) for a in "XYZ"), ""
    ]
    lines += [
        f"{t + 1}\t{t / 60:.5f}\t" + "\t".join(map(str,
                                                   frame.ravel().tolist()))
        for t, frame in enumerate(frames)
    ]
    return "\n".join(lines) + "\n"
