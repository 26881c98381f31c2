"""Readers of JSON by MediaPipe, TensorFlow.js, OpenPose, AlphaPose, MMPose and Azure Kinect.

A recording is a file (one object or list, or JSON Lines) or a folder of one file a frame. Each
format is a function from what one frame holds to the people in it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from skeleton_reid.data.datasets import OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.people import Frame, Person
from skeleton_reid.data.raw.recordings import NUMBERS, TIMES, letters, read_text, visible
from skeleton_reid.data.skeleton import Skeleton

# Keys of an object's frames.
LISTS = ("frames", "instance_info", "annotations", "results", "poses", "predictions", "data")
# MediaPipe's names of a frame's landmarks: in metres from the hips, and in the image, from 0 to 1.
WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "world_landmarks")
IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")

BLAZEPOSE = " (keypoints3D is TensorFlow.js's: format: blazepose)"


def read_json(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """The frames of a recording in the `format` of the source.

    InputError, with file and frame, for what is no JSON or no frame of this format.
    """
    for place, number, content in _frames(path):
        values = content if isinstance(content, dict) else {}
        spelled = {letters(key): value for key, value in values.items()}
        if source.time and values and letters(source.time) not in spelled:
            raise broken(place, f"the time of a frame, {source.time!r}", ", ".join(values))
        usual = ((letters(source.time),), ()) if source.time else (NUMBERS, TIMES)
        own, time = (next((_number(spelled[key]) for key in keys if key in spelled), None)
                     for keys in usual)
        try:
            people = list(PEOPLE[source.format](content, source))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else error
            expected = f"a frame of the format {source.format}"
            raise broken(place, expected, found, "choose another format, or repair it") from error
        yield Frame(people, number if own is None else own, time)


def _frames(path: Path) -> Iterator[tuple[Path | str, float | None, Any]]:
    """Where each frame stands, its number as far as names tell, and what it holds."""
    if path.is_dir():
        files = visible(path, "*.[jJ][sS][oO][nN]")
        if not files:
            raise broken(path, "one .json a frame", "none", "complete or remove it")
        groups = [re.findall(r"\d+", file.stem) for file in files]
        counting = [(), *(own for own in zip(*groups, strict=False) if len(set(own)) > 1)]
        numbers = list(map(int, counting[-1])) if len({len(own) for own in groups}) == 1 else []
        known = len(numbers) > 1 and numbers == sorted(set(numbers))
        names = sorted({re.sub(r"\d+", "#", file.stem) for file in files})
        if len(names) > 1 or (not known and np.median(np.diff(numbers or [0, 0])) == 1):
            found = " and ".join(names[:2]) if len(names) > 1 else "a number that begins again"
            raise broken(path, "one .json a frame, named alike but for its number", found,
                         "give each recording a folder of its own")
        yield from zip(files, numbers if known else [None] * len(files), map(_load, files),
                       strict=True)
        return
    content = _load(path)
    if isinstance(content, dict):
        content = next(
            (content[key] for key in LISTS if isinstance(content.get(key), (list, dict))), content)
    named = isinstance(content, dict) and all(map(re.compile(r".*\d(\.\D+)?").fullmatch, content))
    if named and content:  # 12, frame_12 or 12.jpg
        for key in sorted(content, key=_number):
            yield f"{path}, frame {key}", _number(key), content[key]
        return
    content = [content] if isinstance(content, dict) else content
    if not isinstance(content, list):
        raise broken(path, "a list of frames", type(content).__name__)
    for i, frame in enumerate(content):
        yield f"{path}, frame {i + 1}", None, frame


def _load(file: Path) -> Any:
    """The content of a file: JSON, or a list of its lines' (JSON Lines)."""
    text = read_text(file)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        with suppress(json.JSONDecodeError):
            if lines := [json.loads(line) for line in text.splitlines() if line.strip()]:
                return lines
        found = f"one that is damaged or breaks off at line {error.lineno}, sign {error.colno}"
        raise broken(file, "a whole JSON file", found if text.strip() else "an empty one") from None


def _number(value: Any) -> float | None:
    """A frame's number or time, also of a name such as 12.jpg; None if there is none."""
    if isinstance(value, str):
        digits = re.findall(r"\d+", value)
        value = value if re.fullmatch(r"[\d.]+", value) else digits[-1] if digits else None
    return None if value is None or isinstance(value, (list, dict)) else float(value)


def _track(value: Any) -> str:
    """Who it is, of a number or a list of one; empty where it is not known."""
    while isinstance(value, list):
        value = value[0] if value else None
    known = value not in (None, -1, "")
    return str(int(value) if known and value == int(value) else value) if known else ""


def _flat(numbers: Sequence[float], width: int) -> np.ndarray:
    """Joints (J, 4) of the flat list x, y, c, … (width 3; z is 0) or x, y, z, c, … (4)."""
    if len(numbers) % width:
        raise ValueError(f"{len(numbers)} numbers, which are no {width} a joint")
    points = np.array(numbers, dtype=float).reshape(-1, width)
    return points if width == 4 else np.insert(points, 2, 0.0, axis=1)


def _points(points: Sequence[dict | list]) -> np.ndarray:
    """Joints (J, 4) of objects with x, y, perhaps z, and visibility or score; or of their lists."""
    def numbers(each: dict | list) -> Sequence[float]:
        if isinstance(each, list) and len(each) in (3, 4):
            return [*each, 1.0][:4]
        if not isinstance(each, dict):
            raise ValueError(f"{each} in the place of a joint's x, y, z")
        if "x" not in each:
            raise ValueError(f"{', '.join(each)}, and no x, y{BLAZEPOSE * ('keypoints3D' in each)}")
        seen = each.get("visibility", each.get("score", 1.0))
        return each["x"], each["y"], each.get("z", 0.0), seen

    return np.array(list(map(numbers, points)), dtype=float)


def _poses(value: Any) -> list[np.ndarray]:
    """The poses of landmarks: of one person, or a list of several."""
    several = value if isinstance(value, list) else [value]
    if several and isinstance(several[0], dict) and "landmark" in several[0]:
        several = [one["landmark"] for one in several]
    elif not all(
            isinstance(one, list) and isinstance((one or [[]])[0], (dict, list))
            for one in several):
        several = [several]
    return [_points(one) for one in several if one]


def _in_image(source: OwnData, key: str, expected: Sequence[str]) -> None:
    """ValueError where a unit of length is given for positions in the image."""
    if isinstance(source.unit, str):
        raise ValueError(f"{key!r}, which are positions in the image, and none of "
                         f"{', '.join(expected)} in metres; to take them, give `unit` as a number")


def _mediapipe(frame: Any, source: OwnData) -> Iterator[Person]:
    """World landmarks, in metres from the hips; several people have no order from frame to frame,
    so that they are followed in the image.
    """
    if not isinstance(frame, dict):
        yield from map(Person, _poses(frame or []))
        return
    world, image = (next((key for key in keys if key in frame), "") for keys in (WORLD, IMAGE))
    others = [key for key in frame if letters(key) not in (*NUMBERS, *TIMES, letters(source.time))]
    if not (world or image) and others:
        hint = BLAZEPOSE * ("keypoints3D" in frame)
        raise ValueError(f"{', '.join(frame)}, and none of {', '.join((*WORLD, *IMAGE))}{hint}")
    if image and not world:
        _in_image(source, image, WORLD)
    poses = _poses(frame.get(world or image))
    places = _poses(frame.get(image)) if world and image else []
    for i, pose in enumerate(poses):
        yield Person(pose, place=places[i] if len(places) == len(poses) else None)


def _blazepose(frame: Any, source: OwnData) -> Iterator[Person]:
    """A list of poses, or one: keypoints3D, in metres from the hips, beside keypoints in pixels."""
    poses = frame if isinstance(frame, list) else frame.get("poses", [frame])
    for pose in poses:
        if "keypoints3D" not in pose and "keypoints" in pose:
            _in_image(source, "keypoints", ("keypoints3D",))
        place = _points(pose["keypoints"]) if "keypoints" in pose else None
        body = _points(pose["keypoints3D"]) if "keypoints3D" in pose else place
        if body is None:
            raise ValueError(f"{', '.join(pose)}, and no keypoints3D")
        yield Person(body, _track(pose.get("id")), place)


def _openpose(frame: dict, source: OwnData) -> Iterator[Person]:
    for person in frame["people"]:
        flat = person.get("pose_keypoints_3d")
        in_picture = person.get("pose_keypoints_2d", person.get("pose_keypoints"))
        if flat or in_picture:  # else a face or hands alone
            pose = _flat(flat, 4) if flat else _flat(in_picture, 3)
            yield Person(pose, _track(person.get("person_id")))


def _results(entry: dict, source: OwnData) -> Iterator[Person]:
    """One of a list over all frames and people, as AlphaPose and COCO's results have them."""
    if _number(entry["image_id"]) is None:
        raise ValueError(f"an image_id without a number, {entry['image_id']!r}")
    yield Person(_flat(entry["keypoints"], 3), _track(entry.get("idx", entry.get("track_id"))))


def _mmpose(frame: Any, source: OwnData) -> Iterator[Person]:
    """The instances of a frame; of an image in a file of its own they stand alone."""
    if isinstance(frame, dict) and "keypoints" in frame:
        frame = [frame]
    if isinstance(frame, dict):
        frame = frame["instances"] if "instances" in frame else frame["instance_info"]
    for one in frame:
        points = np.array(one["keypoints"], dtype=float)
        points = points.reshape(-1, points.shape[-1])[:, :3]
        points = points if points.shape[1] == 3 else np.insert(points, 2, 0.0, axis=1)
        scores = np.ravel(one.get("keypoint_scores", np.ones(len(points))))
        track = _track(one.get("track_id", one.get("instance_id")))
        yield Person(np.insert(points, 3, scores, axis=1), track)


def _azure_kinect(frame: dict, source: OwnData) -> Iterator[Person]:
    for body in frame["bodies"]:
        yield Person(np.array(body["joint_positions"], dtype=float), _track(body.get("body_id")))


PEOPLE = {
    "mediapipe": _mediapipe, "blazepose": _blazepose, "openpose": _openpose, "alphapose": _results,
    "coco": _results, "mmpose": _mmpose, "azure_kinect": _azure_kinect
}
