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

from skeleton_reid.data.datasets import NO_TIME, OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.moments import (NUMBERS, TIMES, frame_numbers, letters, moments,
                                            natural_key, numbers_in)
from skeleton_reid.data.raw.people import Frame, Person
from skeleton_reid.data.raw.recordings import read_text, visible
from skeleton_reid.data.skeleton import Skeleton

# Keys of an object's frames.
LISTS = ("frames", "instance_info", "annotations", "results", "result", "poses", "predictions",
         "data")
# MediaPipe's names of a frame's landmarks: in metres from the hips, and in the image, from 0 to 1.
WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "world_landmarks")
IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
LOST = (np.nan, np.nan, np.nan, 0.0)
BLAZEPOSE = " (keypoints3D is TensorFlow.js's: format: blazepose)"


class NoPoseError(ValueError):
    """A frame has no key of its format: nobody is seen, or it is of another format."""


def read_json(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """The frames of a recording in the `format` of the source.

    InputError, with file and frame, for what is no JSON or no frame of this format.
    """
    places, named, contents = _frames(path)
    people, refused = [], []
    for place, content in zip(places, contents, strict=True):
        try:
            people.append(list(PEOPLE[source.format](content, source, skeleton)))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else error
            refused.append(
                broken(place, f"a frame of the format {source.format}", found,
                       "choose another format, or repair it"))
            people.append([])
            if not isinstance(error, NoPoseError):
                raise refused[-1] from error
    if refused and len(refused) == len(people):
        raise refused[0]
    spelled = [{letters(key): value
                for key, value in content.items()} if isinstance(content, dict) else {}
               for content in contents]
    wanted = letters(source.time)
    for place, content, own in zip(places, contents, spelled, strict=True):
        if source.time not in ("", NO_TIME) and own and wanted not in own:
            raise broken(place, f"the time of a frame, {source.time!r}", ", ".join(content))
    names = {name for own in spelled for name in own} & {*NUMBERS, *TIMES, wanted}
    columns = {name: [own.get(name) for own in spelled] for name in names}
    numbers, times, unread = moments(columns, source.time, len(contents))
    if source.time and unread:
        name, i = unread
        raise broken(places[i], "a number or a time", f"{source.time} {columns[name][i]!r}",
                     f"name another key or none (`time: {NO_TIME}`)")
    if numbers[:1] == [None] and source.time != NO_TIME:
        numbers = named
    for own, number, time in zip(people, numbers, times, strict=True):
        yield Frame(own, number, time, unread[0] if unread else "")


def _frames(path: Path) -> tuple[Sequence[Path | str], Sequence[float | None], list]:
    """Where each frame stands, its number as far as names tell, and what it holds."""
    if path.is_dir():
        files = visible(path, "*.[jJ][sS][oO][nN]")
        if not files:
            raise broken(path, "one .json a frame", "none", "complete or remove it")
        return files, _numbers_of_files(path, files), list(map(_load, files))
    content = _load(path)
    if isinstance(content, dict):
        content = next(
            (content[key] for key in LISTS if isinstance(content.get(key), (list, dict))), content)
    if isinstance(content, dict) and content and all(
            map(re.compile(r".*\d(\.\D+)?").fullmatch, content)):  # 12, frame_12 or 12.jpg
        keys = sorted(content, key=natural_key)
        places = [f"{path}, frame {key}" for key in keys]
        return places, frame_numbers(keys).tolist(), [content[key] for key in keys]
    content = [content] if isinstance(content, dict) else content
    if not isinstance(content, list):
        raise broken(path, "a list of frames", type(content).__name__)
    count = len(content)
    return [f"{path}, frame {i + 1}" for i in range(count)], [None] * count, content


def _numbers_of_files(folder: Path, files: Sequence[Path]) -> list[int | None]:
    """The frames' numbers as the names count them. InputError for those of two recordings."""
    stems = [file.stem for file in files]
    forms = sorted({re.sub(r"\d+", "#", stem) for stem in stems})
    numbers = numbers_in(stems)
    last = [int(own[-1]) for own in (re.findall(r"\d+", stem) for stem in stems) if own]
    again = numbers is None and len(last) > 1 and np.median(np.diff(last)) == 1
    if len(forms) > 1 or again:
        found = " and ".join(forms[:2]) if len(forms) > 1 else "a number that begins again"
        raise broken(folder, "one .json a frame, named alike but for its number", found,
                     "give each recording a folder of its own")
    return numbers or [None] * len(files)


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


def _points(points: Sequence[dict | list] | dict, skeleton: Skeleton) -> np.ndarray:
    """Joints (J, 4) of objects with x, y, perhaps z, and visibility or score, or of their lists; in
    the skeleton's order, or by the joints' names.
    """
    def numbers(each: dict | list) -> Sequence[float]:
        if isinstance(each, list | tuple) and len(each) in (3, 4):
            return [*each, 1.0][:4]
        if not isinstance(each, dict):
            raise ValueError(f"{each} in the place of a joint's x, y, z")
        if "x" not in each:
            raise ValueError(
                f"{', '.join(each)}, and no x, y{BLAZEPOSE if 'keypoints3D' in each else ''}")
        seen = each.get("visibility", each.get("score", 1.0))
        return each["x"], each["y"], each.get("z", 0.0), seen

    joints = [letters(joint) for joint in skeleton.joints]
    if isinstance(points, list) and all(isinstance(each, dict) for each in points):
        named = {letters(str(each.get("name"))): each for each in points}
        points = named if len(named) == len(points) and named.keys() <= set(joints) else points
    if isinstance(points, dict):
        by_name = {letters(name): point for name, point in points.items()}
        if not by_name.keys() & set(joints):
            numbers(points)
        points = [by_name.get(joint, LOST) for joint in joints]
    return np.array(list(map(numbers, points)), dtype=float)


def _poses(value: Any, skeleton: Skeleton) -> list[np.ndarray]:
    """The poses of landmarks: of one person, or a list of several."""
    value = value.get("landmark", value) if isinstance(value, dict) else value
    if not value:
        return []
    first = value[0] if isinstance(value, list) else None
    is_point = ((isinstance(first, dict) and "x" in first)
                or (isinstance(first, list) and not isinstance((first or [0])[0], dict | list)))
    if isinstance(value, dict) or is_point:
        return [_points(value, skeleton)]
    return [pose for one in value for pose in _poses(one, skeleton)]


def _in_image(source: OwnData, key: str, expected: Sequence[str]) -> None:
    """ValueError where a unit of length is given for positions in the image."""
    if isinstance(source.unit, str):
        raise ValueError(f"{key!r}, which are positions in the image, and none of "
                         f"{', '.join(expected)} in metres; to take them, give `unit` as a number")


def _mediapipe(frame: Any, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
    """World landmarks, in metres from the hips; several people have no order from frame to frame,
    so that they are followed in the image.
    """
    if isinstance(frame, dict):
        below = frame.get("result", frame.get("results"))
        frame = below if isinstance(below, dict | list) else frame
    if not isinstance(frame, dict):
        yield from map(Person, _poses(frame, skeleton))
        return
    world, image = (next((key for key in keys if key in frame), "") for keys in (WORLD, IMAGE))
    others = {letters(key) for key in frame} - {*NUMBERS, *TIMES, letters(source.time)}
    if not (world or image) and others & set(map(letters, skeleton.joints)):
        yield Person(_points(frame, skeleton))
    elif not (world or image) and others:
        hint = BLAZEPOSE if "keypoints3D" in frame else ""
        raise NoPoseError(f"{', '.join(frame)}, and none of {', '.join((*WORLD, *IMAGE))}{hint}")
    if image and not world:
        _in_image(source, image, WORLD)
    poses = _poses(frame.get(world or image), skeleton)
    places = _poses(frame.get(image), skeleton) if world and image else []
    for i, pose in enumerate(poses):
        yield Person(pose, place=places[i] if len(places) == len(poses) else None)


def _blazepose(frame: Any, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
    """A list of poses, or one: keypoints3D, in metres from the hips, beside keypoints in pixels."""
    poses = frame if isinstance(frame, list) else frame.get("poses", [frame])
    for pose in poses:
        if "keypoints3D" not in pose and "keypoints" in pose:
            _in_image(source, "keypoints", ("keypoints3D",))
        place = _points(pose["keypoints"], skeleton) if "keypoints" in pose else None
        body = _points(pose["keypoints3D"], skeleton) if "keypoints3D" in pose else place
        if body is None:
            raise ValueError(f"{', '.join(pose)}, and no keypoints3D")
        yield Person(body, _track(pose.get("id")), place)


def _openpose(frame: dict, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
    for person in frame["people"]:
        flat = person.get("pose_keypoints_3d")
        in_picture = person.get("pose_keypoints_2d", person.get("pose_keypoints"))
        if flat or in_picture:  # else a face or hands alone
            pose = _flat(flat, 4) if flat else _flat(in_picture, 3)
            yield Person(pose, _track(person.get("person_id")))


def _results(entry: dict, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
    """One of a list over all frames and people, as AlphaPose and COCO's results have them."""
    if "image_id" not in entry:
        raise KeyError("image_id")
    yield Person(_flat(entry["keypoints"], 3), _track(entry.get("idx", entry.get("track_id"))))


def _mmpose(frame: Any, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
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


def _azure_kinect(frame: dict, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
    for body in frame["bodies"]:
        yield Person(np.array(body["joint_positions"], dtype=float), _track(body.get("body_id")))


PEOPLE = {
    "mediapipe": _mediapipe, "blazepose": _blazepose, "openpose": _openpose, "alphapose": _results,
    "coco": _results, "mmpose": _mmpose, "azure_kinect": _azure_kinect
}
