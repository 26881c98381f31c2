"""Recordings that were changed at random are read or refused in one line, never by a traceback."""

import json
import random

import pytest
from recorders import (azure_kinect, blazepose, flat, instance, mediapipe, ntu, openpose, put, read,
                       trc, walk)
from test_tables import FRAMES, NAMES, a_line_a_joint, table

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import read as read_skeleton

COCO = read_skeleton("coco").joints
JUNK = [None, True, "x", "", -1, float("inf"), [], {}, [[]], [None], {"x": 1}, [1, 2], "10:00:00"]
NESTED = [
    ("mediapipe", "mediapipe", [mediapipe(pose) for pose in walk(33)]),
    ("mediapipe", "blazepose", [blazepose(pose) for pose in walk(33)]),
    ("openpose_body25", "openpose", [openpose(pose) for pose in walk(25)]),
    ("azure_kinect", "azure_kinect", {"frames": list(map(azure_kinect, walk(32)))}),
    ("coco", "mmpose", {"instance_info": [{"instances": [instance(pose)]} for pose in walk(17)]}),
    ("coco", "coco", [{"image_id": t, "keypoints": flat(pose)} for t, pose in enumerate(walk(17))])
]  # fmt: skip
TEXTS = [("coco", "csv", table(FRAMES, NAMES), {}), ("coco", "trc", trc(FRAMES, COCO), {}),
         ("kinect_v2", "csv", a_line_a_joint(walk(25)), {"columns": "Position.{axis}"}),
         ("kinect_v2", "ntu", ntu(*([("7", pose)] for pose in walk(25))), {})]


def damaged(value: object, draw: random.Random) -> object:
    """A copy in which something is missing or another thing."""
    if draw.random() < 0.15 or not isinstance(value, list | dict) or not value:
        return draw.choice(JUNK)
    value, keys = value.copy(), list(value) if isinstance(value, dict) else range(len(value))
    key = draw.choice(keys)
    if draw.random() < 0.2:
        del value[key]
    else:
        value[key] = damaged(value[key], draw)
    return value


def damaged_text(text: str, draw: random.Random) -> str:
    lines, i = text.split("\n"), draw.randrange(text.count("\n"))
    lines[i] = draw.choice(["", "x", "1,2,3", lines[i - 1], lines[i][:draw.randrange(9)], ";\t,"])
    j = draw.randrange(len(text))
    return draw.choice(["\n".join(lines), text[:j] + draw.choice(',;\t x"-\n') + text[j + 1:]])


@pytest.mark.parametrize("seed", range(60))
def test_damaged_recordings_are_read_or_refused(described, tmp_path, seed):
    draw = random.Random(seed)
    if seed % 2:
        skeleton, form, content = draw.choice(NESTED)
        content, keys = json.dumps(damaged(content, draw)), {}
    else:
        skeleton, form, text, keys = draw.choice(TEXTS)
        content = damaged_text(text, draw)
    put(tmp_path / "anna" / "1.x", content)
    description = described(skeleton, form, ".x", unit=1.0, **keys)
    try:
        assert len(read(description)) == 1
    except InputError as error:
        assert "anna/1.x" in str(error)


def test_more_lines_to_skip_than_there_are(described, tmp_path):
    put(tmp_path / "anna" / "1.csv", table(FRAMES, NAMES))
    with pytest.raises(InputError, match="more than the 99 lines of `skip_lines`, found 15"):
        read(described("coco", "csv", ".csv", skip_lines=99))
