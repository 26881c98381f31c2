"""Readers of JSON by MediaPipe, TensorFlow.js, OpenPose, AlphaPose, MMPose, Azure Kinect and ZED.

A recording is a file (one object or list, or JSON Lines) or a folder of one file a frame. The
formats are those of recorders.yaml.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skeleton_reid.data.datasets import NO_TIME, OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.moments import (NUMBERS, RECORDERS, TIMES, frame_numbers, moments,
                                            natural_key, numbers_in)
from skeleton_reid.data.raw.people import Frame, Person
from skeleton_reid.data.raw.recordings import read_text, visible
from skeleton_reid.data.skeleton import Skeleton, letters

LOST = (np.nan, np.nan, np.nan, 0.0)
SEEN, PLACES = ("visibility", "visible", "score", "confidence"), ("position", "real")  # of a joint
DEFAULTS = {"people": [], "track": [], "image": [], "scores": "", "needs": "", "flat": 0}
FORMS = {name: DEFAULTS | form for name, form in RECORDERS["forms"].items()}
BLAZEPOSE = " (keypoints3D is TensorFlow.js's: format: blazepose)"


class NoPoseError(ValueError):
    """A frame has no key of its format: nobody is seen, or it is of another format."""


def read_json(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """The frames of a recording in the `format` of the source.

    InputError, with file and frame, for what is no JSON or no frame of this format.
    """
    places, named, contents, joints = _frames(path)
    in_files = tuple(source.joint_names.get(own, own) for own in skeleton.joints)
    skeleton = Skeleton(name=skeleton.name, joints=in_files, root=(), bones=())
    order, in_file = list(range(len(skeleton))), skeleton
    if joints:  # as the file's head names them
        order = skeleton.places_in(joints)
        if sorted(order) != list(range(len(joints))):
            raise broken(path, f"the joints of {skeleton.name}", f"`joint_names` of {len(joints)}",
                         "name their skeleton")
        joints = tuple(skeleton.joints[i] for i in np.argsort(order))
        in_file = msgspec.structs.replace(skeleton, joints=joints)
    people = [[
        one._replace(pose=one.pose[order]) if len(one.pose) == len(order) else one for one in every
    ] for every in _of_frames(places, contents, source, in_file)]
    named_people = FORMS[source.format]["people"]
    if (path.is_file() and len(people) == 1 < len(people[0])
            and not any(key in contents[0] for key in named_people)):
        people = [[one] for one in people[0]]  # of one object, which holds all frames
        places = [f"{path}, frame {i + 1}" for i in range(len(people))]
        contents, named = [{}] * len(people), [None] * len(people)
    spelled = [{letters(key): value
                for key, value in content.items()} if isinstance(content, dict) else {}
               for content in contents]
    for place, content, own in zip(places, contents, spelled, strict=True):
        if source.time not in ("", NO_TIME) and own and letters(source.time) not in own:
            raise broken(place, f"the time of a frame, {source.time!r}", ", ".join(content))
    names = set().union(*spelled) & {*NUMBERS, *TIMES, letters(source.time)}
    columns = {name: [own.get(name) for own in spelled] for name in names}
    numbers, times, unread = moments(columns, source.time, [f"{place}, key" for place in places])
    if numbers[:1] == [None] and source.time != NO_TIME:
        numbers = named
    for own, number, time in zip(people, numbers, times, strict=True):
        yield Frame(own, number, time, unread)


def _of_frames(places: Sequence[Path | str], contents: Sequence, source: OwnData,
               skeleton: Skeleton) -> list[list[Person]]:
    """Who is in each frame. InputError for another format, also if no frame has a pose."""
    people, refused = [], []
    for place, content in zip(places, contents, strict=True):
        try:
            people.append(list(_people(content, FORMS[source.format], source, skeleton)))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            found = str(error) if isinstance(error, ValueError) else "something else"
            found = f"no {error}" if isinstance(error, KeyError) else found
            found += BLAZEPOSE if "keypoints3D" in found and source.format != "blazepose" else ""
            refused.append(
                broken(place, f"a frame of the format {source.format}", found,
                       "choose another format, give `joint_names`, or repair it"))
            if not isinstance(error, NoPoseError):
                raise refused[-1] from error
            people.append([])
    if refused and len(refused) == len(people):
        raise refused[0]
    return people


def _frames(path: Path) -> tuple[Sequence[Path | str], Sequence[float | None], list, list[str]]:
    """Where each frame stands, its number as far as names tell, what it holds; and the names of the
    joints, where the file has them before its frames.
    """
    if path.is_dir():
        files = visible(path, "*.[jJ][sS][oO][nN]")
        if not files:
            raise broken(path, "one .json a frame", "none", "complete or remove it")
        return files, _numbers_of_files(path, files), list(map(_load, files)), []
    content, joints = _load(path), []
    if isinstance(content, dict):
        images, joints = content.get("images"), content.get("joint_names") or []
        lists = (content.get(key) for key in RECORDERS["frames"])
        content = next((own for own in lists if isinstance(own, list | dict)), content)
        content = _of_images(content, images) if isinstance(images, list) else content
    numbered = re.compile(r".*\d(\.\D+)?")  # 12, frame_12 or 12.jpg
    if isinstance(content, dict) and content and all(map(numbered.fullmatch, content)):
        keys = sorted(content, key=natural_key)
        numbers, content = frame_numbers(keys).tolist(), [content[key] for key in keys]
    else:
        content = [content] if isinstance(content, dict) else content
        if not isinstance(content, list):
            raise broken(path, "a list of frames", type(content).__name__)
        keys, numbers = range(1, len(content) + 1), [None] * len(content)
    return [f"{path}, frame {key}" for key in keys], numbers, content, joints


def _of_images(results: list[dict], images: list[dict]) -> list[dict]:
    """COCO's results with the names of their images in the place of their ids, if these count."""
    names = {image["id"]: image["file_name"] for image in images if "file_name" in image}
    if numbers_in(list(names.values())) is None:
        return results
    return [one | {"image_id": names.get(one.get("image_id"))} for one in results]


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
    """The content of a file: JSON, or a list of several one after the other (JSON Lines)."""
    text, contents, blank = read_text(file), [], re.compile(r"\s*")
    start = blank.match(text).end()
    try:
        while start < len(text):
            content, end = json.JSONDecoder().raw_decode(text, start)
            contents.append(content)
            start = blank.match(text, end).end()
    except json.JSONDecodeError as error:
        found = f"one that is damaged or breaks off at line {error.lineno}, sign {error.colno}"
        begin = text.count("\n", 0, start) + 1
        found += f", of a frame that begins at line {begin}" if contents else ""
        raise broken(file, "a whole JSON file", found) from None
    if not contents:
        raise broken(file, "a whole JSON file", "an empty one")
    return contents if len(contents) > 1 else contents[0]


def _track(value: Any) -> str:
    """Who it is, of a number or a list of one; empty where it is not known."""
    while isinstance(value, list):
        value = value[0] if value else None
    if value in (None, -1, ""):
        return ""
    return str(int(value) if isinstance(value, float) and value == int(value) else value)


def _people(frame: Any, form: dict, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
    """Who is in a frame, nobody where its joints are empty. People without a track have no order
    from frame to frame, so that those of centred poses are followed in the image.
    """
    for key in (*form["people"], "result", "results"):
        if isinstance(frame, dict) and isinstance(frame.get(key), dict | list):
            frame = frame[key]
    of_people = form["people"] and isinstance(frame, list) and frame and isinstance(frame[0], dict)
    if not isinstance(frame, dict) and not of_people:
        yield from map(Person, _poses(frame, skeleton))
        return
    for one in [frame] if isinstance(frame, dict) else frame:
        own, image = (next((key for key in keys if one.get(key)), "")
                      for keys in (form["joints"], form["image"]))
        if own or image:
            if not own and isinstance(source.unit, str):
                raise ValueError(
                    f"{image!r}, which are positions in the image, and none of "
                    f"{', '.join(form['joints'])} in metres; to take them, give `unit` "
                    "as a number")
            if form["needs"] and form["needs"] not in one:
                raise KeyError(form["needs"])
            poses = _poses(one[own or image], skeleton, 4 if own.endswith("3d") else form["flat"])
            places = _poses(one[image], skeleton) if own and image else []
            track = _track(next((one[key] for key in form["track"] if key in one), None))
            for i, pose in enumerate(poses):
                pose[:, 3] = np.ravel(one[form["scores"]]) if form["scores"] in one else pose[:, 3]
                yield Person(pose, track, places[i] if len(places) == len(poses) else None)
        elif one.keys().isdisjoint(form["joints"] + form["image"]):
            yield from _without_keys(one, form, source, skeleton)


def _without_keys(frame: dict, form: dict, source: OwnData, skeleton: Skeleton) -> Iterator[Person]:
    """Somebody whose joints' names are the keys of the frame. NoPoseError for other keys than those
    of a number or time, KeyError without the key of the people.
    """
    others = {letters(key) for key in frame} - {*NUMBERS, *TIMES, letters(source.time)}
    if others & set(map(letters, skeleton.joints)):
        yield Person(_points(frame, skeleton))
    elif form["people"]:
        raise KeyError(form["people"][0])
    elif others:
        raise NoPoseError(
            f"{', '.join(frame)}, and none of {', '.join(form['joints'] + form['image'])}")


def _poses(value: Any, skeleton: Skeleton, width: int = 0) -> list[np.ndarray]:
    """The poses (J, 4) of landmarks, of one person, or a list of several. width: of a joint in a
    flat list; 3 numbers are x, y and the confidence; 0: as many as there are, x, y, z first.
    """
    value = value.get("landmark", value) if isinstance(value, dict) else value
    if isinstance(value, dict) and isinstance(value.get("x"), list):  # a list an axis
        points = zip(*value.values(), strict=True)
        value = [dict(zip(value, point, strict=True)) for point in points]
    if not value:
        return []
    first = value[0] if isinstance(value, list) else value
    if isinstance(first, int | float):
        own = width or max(len(value) // len(skeleton), 1)
        if len(value) % own:
            raise ValueError(f"{len(value)} numbers, which are no {own} a joint")
        points = np.array(value, dtype=float).reshape(-1, own)
        points = np.insert(points, 2, 0.0, axis=1) if width == 3 else points
        return [_points(points.tolist(), skeleton)]
    is_point = (isinstance(first, dict)
                and first.keys() & {"x", *PLACES}) or (isinstance(first, list) and not isinstance(
                    (first or [0])[0], dict | list))
    if isinstance(value, dict) or is_point:
        return [_points(value, skeleton)]
    if not isinstance(value, list):
        raise ValueError(f"{value!r} in the place of joints")
    return [pose for one in value for pose in _poses(one, skeleton)]


def _by_own_names(points: list[dict], skeleton: Skeleton) -> list[dict | tuple]:
    """Joints in the skeleton's order where they tell their names or numbers, else as they are."""
    spelled = [{letters(key): value for key, value in each.items()} for each in points]
    for key in RECORDERS["joint_names"]:
        names = [each.get(key) for each in spelled]
        if None in names or len(set(map(str, names))) < max(len(names), 2):
            continue
        if all(isinstance(name, int) for name in names):
            return [points[i] for i in np.argsort(names)]
        places = skeleton.places_in(list(map(str, names)))
        return [points[i] if i >= 0 else LOST for i in places]
    return points


def _points(points: Sequence[dict | list] | dict, skeleton: Skeleton) -> np.ndarray:
    """Joints (J, 4) of objects with x, y, perhaps z, and visibility or score, or of their lists; in
    the skeleton's order, or by the joints' names.
    """
    def numbers(each: dict | list) -> Sequence[float]:
        seen = 1.0
        if isinstance(each, dict):
            seen = next((each[key] for key in SEEN if key in each), seen)
            each = next((each[key] for key in PLACES if key in each), each)
        if isinstance(each, dict) and "x" in each:
            return each["x"], each["y"], each.get("z", 0.0), seen
        if isinstance(each, list | tuple) and len(each) in (2, 3, 4):
            return (*each[:2], *(each[2:3] or [0.0]), *(each[3:] or [seen]))
        found = ", ".join(each) if isinstance(each, dict) else each
        raise ValueError(f"{found}, and no x, y in the place of a joint")

    joints = [letters(joint) for joint in skeleton.joints]
    if isinstance(points, list) and all(isinstance(each, dict) for each in points):
        points = _by_own_names(points, skeleton)
    if isinstance(points, dict):
        by_name = {letters(name): point for name, point in points.items()}
        if not by_name.keys() & set(joints):
            numbers(points)
        if 2 * len(by_name.keys() & set(joints)) < len(by_name):
            skeleton.places_in(list(points))  # names of another skeleton
        points = [by_name.get(joint, LOST) for joint in joints]
    return np.array(list(map(numbers, points)), dtype=float)
