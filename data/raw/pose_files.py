"""Readers of users' own recordings: arrays, CSV, and JSON of MediaPipe and OpenPose."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.yaml_files import expected_one
from skeleton_reid.data.datasets import OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.recordings import to_numbers, visible
from skeleton_reid.data.skeleton import Skeleton

# MediaPipe's names of a frame's landmarks; in metres where it gives them, else in the image.
LANDMARKS = (*("pose_world_landmarks", "poseWorldLandmarks", "pose_landmarks", "poseLandmarks"),
             *("landmarks", "landmark"))
LOST = [np.nan, np.nan, np.nan, 0.0]


def read_poses(path: Path, source: OwnData, skeleton: Skeleton) -> np.ndarray:
    """The positions x, y, z and the confidences (1 without any) of a recording, (T, J, 4).

    InputError for a file that is damaged or does not hold all joints in every frame.
    """
    expected = f"{source.format}, frames of {len(skeleton)} joints ({skeleton.name})"
    try:
        poses = np.array(READERS[source.format](path, source, skeleton), dtype=float)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, csv.Error) as error:
        raise broken(path, expected, repr(error)) from error
    if poses.ndim != 3 or poses.shape[1] != len(skeleton) or poses.shape[2] not in (3, 4):
        raise broken(path, expected, f"an array {poses.shape}")
    return np.concatenate([poses, np.ones_like(poses[..., :1])], axis=-1)[..., :4]


def csv_rows(path: Path, **options: Any) -> csv.DictReader:
    """The lines of a CSV file by column, separated by commas, semicolons or tabs."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return csv.DictReader(lines, delimiter=max(",;\t", key=(lines or [""])[0].count), **options)


def _read_csv(path: Path, source: OwnData, skeleton: Skeleton) -> np.ndarray:
    """A line a frame. Names of columns may differ in case and in signs between the words."""
    header = [name for pattern in source.header for name in source.expand(pattern, skeleton)]
    rows = csv_rows(path, fieldnames=header or None, restval="nothing")
    spelled = {_letters(name): name for name in rows.fieldnames or ()}
    names = []
    for name in source.expand(source.columns, skeleton):
        if _letters(name) not in spelled:
            raise InputError(f"{path}, line 1: column {expected_one(name, spelled.values())}")
        names.append(spelled[_letters(name)])
    cells = ([row[name].strip() or "nan" for name in names] for row in rows)
    values = [to_numbers(fields, path, rows.line_num, names) for fields in cells]
    return np.array(values).reshape(len(values), len(skeleton), -1)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _read_mediapipe(path: Path, source: OwnData, skeleton: Skeleton) -> list:
    """A list of frames, or an object with `frames`, of landmarks x, y, z and visibility."""
    frames = json.loads(path.read_bytes())
    frames = frames["frames"] if isinstance(frames, dict) else frames
    return [_landmarks(frame) or [LOST] * len(skeleton) for frame in frames]


def _landmarks(frame: Any) -> list[list[float]]:
    """The landmarks of a frame, of the first person; none of an empty frame."""
    while isinstance(frame, dict):
        frame = next((frame[name] for name in LANDMARKS if name in frame), None)
    if frame and isinstance(frame[0], list):
        frame = frame[0]
    return [[each["x"], each["y"], each["z"], each.get("visibility", 1)] for each in frame or ()]


def _read_openpose(path: Path, source: OwnData, skeleton: Skeleton) -> list[np.ndarray]:
    """A folder of one file a frame; of several people the one with the highest confidences.

    Where there are only 2D keypoints, z is 0.
    """
    poses = []
    for file in visible(path, "*.json"):
        people = [np.array([LOST] * len(skeleton))]
        for person in json.loads(file.read_bytes())["people"]:
            numbers = person.get("pose_keypoints_3d") or person["pose_keypoints_2d"]
            pose = np.reshape(numbers, (len(skeleton), -1))
            people.append(pose if pose.shape[1] == 4 else np.insert(pose, 2, 0, axis=1))
        poses.append(max(people, key=lambda pose: pose[:, 3].sum()))
    return poses


READERS = {
    "npy": lambda path, *_: np.load(path, allow_pickle=False), "csv": _read_csv,
    "mediapipe": _read_mediapipe, "openpose": _read_openpose
}
