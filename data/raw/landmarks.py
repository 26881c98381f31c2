"""Joints as JSON has them: lists of numbers or objects, by their names or in order."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skeleton_reid.data.raw.moments import RECORDERS
from skeleton_reid.data.skeleton import Skeleton, letters

LOST = (np.nan, np.nan, np.nan, 0.0)
SEEN, PLACES = ("visibility", "score", "confidence"), ("position", "real")  # of a joint
BLAZEPOSE = " (keypoints3D is TensorFlow.js's: format: blazepose)"


def poses_of(value: Any, skeleton: Skeleton, width: int = 0) -> list[np.ndarray]:
    """The poses (J, 4) of landmarks, of one person, or a list of several. width: of a joint in a
    flat list; 3 numbers are x, y and the confidence; 0: as many as there are, x, y, z first.
    """
    value = value.get("landmark", value) if isinstance(value, dict) else value
    if not value:
        return []
    first = value[0] if isinstance(value, list) else value
    if isinstance(first, int | float):
        own = width or max(len(value) // len(skeleton), 1)
        if len(value) % own:
            raise ValueError(f"{len(value)} numbers, which are no {own} a joint")
        points = np.array(value, dtype=float).reshape(-1, own)
        points = np.insert(points, 2, 0.0, axis=1) if width == 3 else points
        return [points_of(points.tolist(), skeleton)]
    is_point = (isinstance(first, dict)
                and first.keys() & {"x", *PLACES}) or (isinstance(first, list) and not isinstance(
                    (first or [0])[0], dict | list))
    if isinstance(value, dict) or is_point:
        return [points_of(value, skeleton)]
    return [pose for one in value for pose in poses_of(one, skeleton)]


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


def points_of(points: Sequence[dict | list] | dict, skeleton: Skeleton) -> np.ndarray:
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
        hint = BLAZEPOSE if "keypoints3D" in each else ""
        found = ", ".join(each) if isinstance(each, dict) else each
        raise ValueError(f"{found}, and no x, y{hint} in the place of a joint")

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
