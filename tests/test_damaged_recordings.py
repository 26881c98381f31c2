"""Recordings that were changed at random are read or refused in one line, never by a traceback."""

import json
import random

import numpy as np
import pytest
from recorders import (azure_kinect, blazepose, flat, instance, mediapipe, ntu, openpose, put, read,
                       refused_reading, trc, walk)
from test_tables import FRAMES, NAMES, a_line_a_joint, table

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import read as read_skeleton

COCO = read_skeleton("coco").joints
JUNK = [None, True, "x", "", -1, float("inf"), [], {}, [[]], [None], {"x": 1}, [1, 2], "10:00:00"]
JUNK += [["x"], 10**400]
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


def test_what_is_said_of_files_in_the_words_of_their_formats(described, tmp_path):
    """No exception of Python's in it."""
    head = ",".join(f"{joint}_{axis}" for joint in COCO for axis in "xyz")
    put(tmp_path / "anna" / "1.csv", head)
    said = refused_reading(described("coco", "csv", ".csv"))
    assert "expected lines of numbers below the header, found none" in said
    row = ",".join(["0.1"] * 51)
    put(tmp_path / "anna" / "1.csv", f"inch\n{head}\n{row}\n")
    said = refused_reading(described("coco", "csv", ".csv"))
    assert "found inch in its header; correct `unit`" in said and "0.0254" in said
    np.savez(tmp_path / "anna" / "1.npz", poses=np.array([{"a": 1}], dtype=object))
    said = refused_reading(described("coco", "npz", ".npz"))
    assert "found objects of Python in the place of an array of numbers" in said
    put(tmp_path / "anna" / "1.json", '{"joints": []}\n{"joints": []}\n{"joints": [')
    assert "breaks off at line 3, sign 13" in refused_reading(described("coco", "json", ".json"))
    put(tmp_path / "anna" / "1.json", '[[]]\n[[\n[[]]\n[[]]\n')  # its second line is damaged
    assert "begins at line 2" in refused_reading(described("coco", "json", ".json"))


@pytest.mark.parametrize(("content", "found"),
                         [('[{"joints": ["a"]}]', "found 'a' in the place of joints"),
                          ("[1, 2, 3]", "found something else"),
                          ("[" * 200_000, "found lists within lists, thousands deep")])
def test_json_of_another_structure(described, tmp_path, content, found):
    put(tmp_path / "anna" / "1.json", content)
    assert found in refused_reading(described("coco", "json", ".json"))


def test_a_table_with_paths_of_windows_and_a_missing_file(described, tmp_path):
    np.save(tmp_path / "1.npy", walk(17))
    (tmp_path / "a").mkdir()
    (tmp_path / "1.npy").rename(tmp_path / "a" / "1.npy")
    put(tmp_path / "table.csv", "file,person\na\\1.npy,anna\n")
    keys = {"recordings": None, "table": "table.csv"}
    (recording,) = read(described("coco", "npy", **keys))
    assert len(recording.frames) == len(walk(17))
    put(tmp_path / "table.csv", "file,person\na/2.npy,anna\n")
    said = refused_reading(described("coco", "npy", **keys))
    assert "a/2.npy: expected" in said and "found No such file" in said


def test_infinite_confidences(described, tmp_path):
    poses = walk(17)
    people = [[instance(pose), instance(pose + 1)] for pose in poses]
    for own in people:
        own[0]["keypoint_scores"] = [float("inf")] * 17
    put(tmp_path / "anna" / "1.json", {"instance_info": [{"instances": own} for own in people]})
    (recording,) = read(described("coco", "mmpose", ".json"))
    np.testing.assert_allclose(recording.frames[0], poses[0], atol=1e-6)  # the surer one
