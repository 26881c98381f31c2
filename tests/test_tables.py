"""Tables as spreadsheets, Kinect recorders and motion capture write them."""

import numpy as np
import pytest
from raw_data import refused
from recorders import T, put, read, refused_reading, trc, walk

from skeleton_reid.data.skeleton import read as read_skeleton

COCO = read_skeleton("coco").joints
KINECT = read_skeleton("kinect_v2").joints
NAMES = [f"{joint}_{axis}" for joint in COCO for axis in "xyz"]


def table(frames: np.ndarray, names: list[str] = (), sign: str = ",", end: str = "", **more) -> str:
    """A line a frame. more: columns at the end, a value a frame."""
    rows = [[*map(str,
                  frame.ravel().tolist()), *(str(column[t]) for column in more.values())]
            for t, frame in enumerate(frames)]
    rows = [[*names, *more], *rows] if names else rows
    return "\n".join(sign.join(row) + end for row in rows) + "\n"


def kinect_to_csv(frames: np.ndarray) -> str:
    """Two lines of header, joints over axes, and a semicolon at each line's end."""
    return ";;;".join(KINECT) + ";;;\n" + "X;Y;Z;" * 25 + "\n" + table(frames, sign=";", end=";")


def a_line_a_joint(frames: np.ndarray) -> str:
    lines = ["Timestamp,JointID,Position.X,Position.Y,Position.Z,Orientation.W,State"]
    lines += [
        f"{33 * t},{j},{x},{y},{z},1,{'Tracked' if j else 'Inferred'}"
        for t, frame in enumerate(frames) for j, (x, y, z) in enumerate(frame.tolist())
    ]
    return "\n".join(lines) + "\n"


FRAMES = walk(17)
PLAIN = table(FRAMES, NAMES)
EUROPEAN = table(FRAMES, NAMES, sign=";").replace(".", ",")
TABLES = [
    ("sep=;\n" + table(FRAMES, NAMES, sign=";"), {}),
    ("# made by a recorder\n\nsubject: anna\n" + PLAIN, {}),
    ("Format Version,1.2\n" + "," * 50 + "\n" + PLAIN, {"skip_lines": 2}),
    ("\ufeff" + PLAIN.replace("\n", "\r\n") + ",\r\n\r\n", {}),
    ("Format Version,1.23,Take,1\n\n,Type" + ",Bone" * 51 + "\n,Name" + ",Anna:Hip" * 51 + "\n,ID"
     + ",8A" * 51 + "\n," + ",Position" * 51 + "\nFrame,Time" + ",X,Y,Z" * 17 + "\n"
     + "".join(f"{t},{t / 100},{line}\n" for t, line in enumerate(PLAIN.split("\n")[1:-1])),
     {"header": ["Frame", "Time", "{joint}_{axis}"]}), (PLAIN.replace("\n",
                                                                      ",\n"), {}), (EUROPEAN, {}),
    (EUROPEAN.split("\n",
                    1)[1], {"header": ["{joint}_{axis}"], "decimal": ","}),
    ("\n".join(f'"{line}"'
               for line in table(FRAMES, NAMES, sign='","').replace(".", ",").split("\n")[:-1]),
     {}), (table(FRAMES, sign="\t"), {"header": ["{joint}_{axis}"]}),
    (table(FRAMES, sign=" "), {"header": ["{joint}_{axis}"]}),
    (table(FRAMES, [name.title().replace("_", " ") for name in NAMES]), {}),
    (table(FRAMES, NAMES, clock=[f"10:00:0{t / 10:.1f}" for t in range(T)]), {"time": "clock"})
]


@pytest.mark.parametrize(("text", "keys"), TABLES)
def test_tables_of_many_writers(described, tmp_path, text, keys):
    put(tmp_path / "anna" / "1.csv", text)
    (recording,) = read(described("coco", "csv", ".csv", **keys))
    np.testing.assert_array_equal(recording.frames, FRAMES)
    assert recording.lost == {}


@pytest.mark.parametrize("keys", [{}, {"header": ["{joint}_{axis}", "rest"]}, {"skip_lines": 0}])
def test_two_lines_of_header(described, tmp_path, keys):
    frames = walk(25)
    put(tmp_path / "anna" / "1.csv", kinect_to_csv(frames))
    (recording,) = read(described("kinect_v2", "csv", ".csv", **keys))
    np.testing.assert_array_equal(recording.frames, frames)


def test_names_without_the_cells_after_the_last(described, tmp_path):
    """As programs that strip lines leave them: the header ends with the last joint's name."""
    put(tmp_path / "anna" / "1.trc", "\n".join(map(str.rstrip, trc(FRAMES, COCO).split("\n"))))
    (recording,) = read(described("coco", "trc", ".trc", unit=None))
    np.testing.assert_array_equal(recording.frames, FRAMES)


@pytest.mark.parametrize(("stated", "unit", "scale"), [("mm", None, 0.001), ("mm", "mm", 0.001),
                                                       ("m", 0.0254, 0.0254),
                                                       ("Units", "cm", 0.01)])
def test_units_that_a_file_states(described, tmp_path, stated, unit, scale):
    put(tmp_path / "anna" / "1.trc", trc(FRAMES, COCO).replace("\tm\t", f"\t{stated}\t"))
    (recording,) = read(described("coco", "trc", ".trc", unit=unit))
    np.testing.assert_allclose(recording.frames, FRAMES * scale)


@pytest.mark.parametrize(
    ("stated", "unit", "message"),
    [("mm", "m", "expected m, the `unit` of "),
     ("mm\tinch", "m", "found inch and mm in its header"),
     ("mm\tm", None, "found m and mm; correct `unit`"),
     ("yards", None, "expected m, cm or mm in its header, found none; correct `unit`")])
def test_units_that_contradict_each_other(described, tmp_path, stated, unit, message):
    put(tmp_path / "anna" / "1.trc", trc(FRAMES, COCO).replace("\tm\t", f"\t{stated}\t"))
    assert message in refused_reading(described("coco", "trc", ".trc", unit=unit))


def vicon(frames: np.ndarray) -> str:
    """As Nexus exports trajectories: a line of units below the header."""
    return ("Trajectories\n100\n,," + "".join(f"Anna:{joint},,," for joint in COCO)
            + "\nFrame,Sub Frame" + ",X,Y,Z" * 17 + "\n,," + ",".join(["mm"] * 51) + "\n"
            + "".join(f"{t + 1},0,{line}\n"
                      for t, line in enumerate(table(1000 * frames).split("\n")[:-1])))


def motive(frames: np.ndarray) -> str:
    """As Motive exports bones: lines between joints and axes; rotations before positions."""
    bones = [f"Anna:{joint}" for joint in COCO for _ in range(7)]
    kinds = (["Rotation"] * 4 + ["Position"] * 3) * 17
    lines = [["Format Version", "1.23", "Length Units", "Meters"], ["", "Type", *["Bone"] * 119],
             ["", "Name", *bones], ["", "ID", *["8A"] * 119], ["", "", *kinds],
             ["Frame", "Time (Seconds)", *["X", "Y", "Z", "W", "X", "Y", "Z"] * 17]]
    for t, frame in enumerate(frames):
        turned = np.hstack([np.ones((17, 4)), frame]).ravel().tolist()
        lines.append([str(t), f"{t / 100}", *map(str, turned)])
    return "\n".join(map(",".join, lines)) + "\n"


def qualisys(frames: np.ndarray) -> str:
    header = "NO_OF_FRAMES\t14\nDESCRIPTION\t--\nDATA_INCLUDED\t3D\nMARKER_NAMES\t"
    return header + "\t".join(COCO) + "\n" + table(frames, sign="\t")


def numbered(frames: np.ndarray, first: int) -> str:
    names = [f"Landmark_{i + first}_{axis}" for i in range(17) for axis in "xyz"]
    return table(frames, names)


@pytest.mark.parametrize(("text", "keys"), [
    (vicon(FRAMES), {"unit": "mm", "joint_names": {joint: f"Anna:{joint}" for joint in COCO}}),
    (motive(FRAMES), {"joint_names": {joint: f"Anna:{joint}" for joint in COCO}}),
    (qualisys(FRAMES), {}), (numbered(FRAMES, 0), {"columns": "landmark_{joint}_{axis}"}),
    (numbered(FRAMES, 1), {"columns": "landmark_{joint}_{axis}"}),
    ("\n".join(" ".join(map(str, point)) + " 1" for point in FRAMES.reshape(-1, 3).tolist()),
     {"columns": "{axis}", "header": ["x", "y", "z", "state"]}),
    ("\n\n".join(line + ",0,0"
                 for line in table(FRAMES).split("\n")[:-1]), {"header": ["{joint}_{axis}", "*"]})
])
def test_tables_of_motion_capture_and_numbered_joints(described, tmp_path, text, keys):
    put(tmp_path / "anna" / "1.csv", text)
    (recording,) = read(described("coco", "csv", ".csv", **keys))
    np.testing.assert_allclose(recording.frames, FRAMES)


def test_tables_in_two_dimensions(described, tmp_path):
    names = [f"{joint}_{axis}" for joint in COCO for axis in ("x", "y", "score")]
    frames = np.concatenate([FRAMES[..., :2], np.full((T, 17, 1), 0.9)], axis=2)
    put(tmp_path / "anna" / "1.csv", table(frames, names))
    (recording,) = read(described("coco", "csv", ".csv", confidence="{joint}_score"))
    np.testing.assert_array_equal(recording.frames[..., :2], FRAMES[..., :2])
    assert not recording.frames[..., 2].any()


def test_the_last_cells_of_a_table_are_lost(described, tmp_path):
    text = trc(FRAMES, COCO).rstrip("\n")
    put(tmp_path / "anna" / "1.trc", text[:text.rindex("\t") + 1])
    (recording,) = read(described("coco", "trc", ".trc"))
    assert recording.lost["joints without number"] == 1 and len(recording.frames) == T


def test_utf_16_of_spreadsheets(described, tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "1.csv").write_text(table(FRAMES, NAMES, sign="\t"), encoding="utf-16")
    (recording,) = read(described("coco", "csv", ".csv"))
    np.testing.assert_array_equal(recording.frames, FRAMES)


@pytest.mark.parametrize("keys", [{}, {"joint": "JointID"}])
def test_a_line_a_joint_and_states_as_words(described, tmp_path, keys):
    frames = walk(25)
    put(tmp_path / "anna" / "1.csv", a_line_a_joint(frames))
    keys = keys | {"columns": "Position.{axis}", "confidence": "State"}
    description = described("kinect_v2", "csv", ".csv", **keys, ignore=["ThumbLeft"])
    (recording,) = read(description)
    np.testing.assert_array_equal(recording.frames, np.delete(frames, KINECT.index("ThumbLeft"), 1))
    description = described("kinect_v2", "csv", ".csv", **keys, least_confidence=2)
    assert "SpineBase in 14 of 14 frames" in refused_reading(description)


def test_a_line_a_joint_with_joints_missing(described, tmp_path):
    """Without times nothing tells of which frame the lines are."""
    lines = a_line_a_joint(walk(25)).split("\n")
    text = "\n".join(lines[:90] + lines[93:])
    keys = {"columns": "Position.{axis}"}
    put(tmp_path / "anna" / "1.csv", text)
    (recording,) = read(described("kinect_v2", "csv", ".csv", **keys))
    assert recording.lost["joints without number"] == 3
    put(tmp_path / "anna" / "1.csv", text.replace("Timestamp", "Rest", 1))
    said = refused_reading(described("kinect_v2", "csv", ".csv", **keys))
    assert "expected each joint as often as the others" in said


def test_lost_values_of_many_spellings(described, tmp_path):
    frames = np.repeat(FRAMES, 2, axis=0)
    text = table(frames, NAMES).split("\n")
    words = ("", "NA", "null", "-nan(ind)", "NaN", "#N/A", "None", "-1.#IND")
    for line, word in enumerate(words, 1):
        cells = text[3 * line].split(",")
        cells[3:6] = [word] * 3
        text[3 * line] = ",".join(cells)
    cells = text[27].split(",")
    cells[3:6] = ["-1", "-1", "-1.0"]
    put(tmp_path / "anna" / "1.csv", "\n".join([*text[:27], ",".join(cells), *text[28:]]))
    (recording,) = read(described("coco", "csv", ".csv", longest_gap=1))
    assert recording.lost["repaired"] == 9 and recording.lost["dropped"] == 0
    assert recording.lost["joints at -1"] == 1
    np.testing.assert_allclose(recording.frames[26], (frames[25] + frames[27]) / 2, atol=0.1)


def test_people_and_frames_of_a_table(described, tmp_path):
    """Lines of two people by turns: with a column that tells them apart, of a usual name or one
    that is named, and by their place without any.
    """
    first, second = walk(17), walk(17, seed=1) + 9
    both = np.stack([first, second], axis=1).reshape(-1, 17, 3)
    both = np.delete(both, [14, 15], axis=0)  # frame 7 is missing
    frame = np.delete(np.repeat(np.arange(T), 2), [14, 15])
    track = 72057594037927936 + np.arange(len(both)) % 2
    for name, keys in (("TrackingID", {}), ("who", {"track": "who"}), ("other", {})):
        put(tmp_path / "anna" / "1.csv", table(both, NAMES, Frame=frame, **{name: track}))
        (recording,) = read(described("coco", "csv", ".csv", **keys))
        np.testing.assert_array_equal(np.concatenate(recording.sequences()), np.delete(first, 7, 0))
        assert recording.lost["frames with several people"] == T - 1
        assert recording.lost["frames missing"] == 1 and len(recording.sequences()) == 2


def test_a_clock_that_is_slower_than_the_recorder_tells_nothing(described, tmp_path):
    put(tmp_path / "anna" / "1.csv", table(FRAMES, NAMES, time=[t // 5 for t in range(T)]))
    (recording,) = read(described("coco", "csv", ".csv"))
    np.testing.assert_array_equal(recording.frames, FRAMES)
    assert recording.lost == {}


@pytest.mark.parametrize(("text", "keys", "message"), [
    (table(np.concatenate([FRAMES, FRAMES[..., :1]], -1)), {"header": ["{joint}_{axis}"]},
     "line 1: expected 51 cells, as the header has, found '68 cells'"),
    (PLAIN.replace("\n", ",7\n").replace(
        ",7\n", "\n", 1), {}, "line 2: expected 51 cells, as the header has, found '52 cells'"),
    (PLAIN.strip()[:-100], {}, "cells'; repair or remove the line, or name every column"),
    (table(FRAMES), {}, "expected the columns nose_x, nose_y,"),
    (table(FRAMES, NAMES, **{"Nose x": range(T)}), {}, "expected one column nose_x, found several"),
    (table(FRAMES, NAMES, when=["1:03 PM", "noon", *["1:04 PM"] * (T - 2)]), {"time": "when"},
     "line 3, column when: expected a number or a time, found 'noon'; name another one or none"),
    (PLAIN, {"track": "id"}, "1.csv: column unknown 'id'"),
    (PLAIN, {"columns": "{axis}"}, "line 1: expected the columns x, y, z, found"),
    (PLAIN.replace("0.", "O.", 1), {}, "expected numbers, found 'O")
])
def test_wrong_tables(described, tmp_path, capsys, text, keys, message):
    put(tmp_path / "anna" / "1.csv", text)
    description = described("coco", "csv", ".csv", **keys)
    assert message in refused(capsys, 6, "--dataset", description, "--out", tmp_path / "out")


@pytest.mark.parametrize(("array", "message"),
                         [(np.zeros((3, 5, 17, 3)), "found float64 (3, 5, 17, 3); turn or cut"),
                          (np.zeros((5, 17, 3), bool), "found bool (5, 17, 3)"),
                          (np.zeros((5, 17, 3), complex), "found complex128 (5, 17, 3)"),
                          (np.zeros((0, 17, 3)), "found float64 (0, 17, 3)"),
                          (np.zeros(
                              (5, 25, 3)), "found 25 joints, as kinect_v2 or openpose_body25 has"),
                          (np.array([{}]), "found objects of Python")])
def test_wrong_arrays(described, tmp_path, array, message):
    (tmp_path / "anna").mkdir()
    np.save(tmp_path / "anna" / "1.npy", array)
    assert message in refused_reading(described("coco", "npy", ".npy"))


def test_archives_of_several_arrays(described, tmp_path):
    (tmp_path / "anna").mkdir()
    np.savez(tmp_path / "anna" / "1.npz", positions_3d=FRAMES, times=np.arange(T))
    said = refused_reading(described("coco", "npz", ".npz"))
    assert "one array, or its name as `array`, found positions_3d (14, 17, 3), times" in said
    (recording,) = read(described("coco", "npz", ".npz", array="positions_3d"))
    np.testing.assert_array_equal(recording.frames, FRAMES)


def test_files_of_ntu_that_break_off(described, tmp_path):
    put(tmp_path / "anna" / "1.skeleton", "2\n1\n7 0 1 1 1 1 0 0 0 2\n25\n0 0 0 1 2\n")
    said = refused_reading(described("kinect_v2", "ntu", ".skeleton"))
    assert "expected as many frames, bodies and joints as it says, found its end" in said
    put(tmp_path / "anna" / "1.skeleton", "frames\n")
    assert "expected numbers of bodies" in refused_reading(
        described("kinect_v2", "ntu", ".skeleton"))
