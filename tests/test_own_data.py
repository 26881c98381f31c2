"""A user's own data: readers of files against what was written, and every kind of bad input: one
line, exit code 2, nothing written.
"""

import json
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
import yaml
from commands import error_of
from raw_data import read_part, read_split, refused, run

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.data.raw.own import read_own

SKELETON = {
    "joints": ["hip", "head", "left foot", "right foot"], "root": ["left foot", "right foot"],
    "bones": [["hip", "head"], ["hip", "left foot"], ["hip", "right foot"]]
}
DATA = {
    "skeleton": "stick.yaml", "folder": "raw", "recordings": "{person}/{recording}.csv",
    "format": "csv", "unit": "m", "up": "y"
}


@pytest.fixture
def own(tmp_path):
    """own(**changes): the description of own data in `tmp_path`, with these values."""
    (tmp_path / "stick.yaml").write_text(yaml.safe_dump(SKELETON))

    def write(**changes) -> Path:
        values = {key: value for key, value in (DATA | changes).items() if value is not None}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
        return tmp_path / "mine.yaml"

    return write


def random_poses(frames: int = 15, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).normal(size=(frames, 4, 3)).round(3)


def write_csv(path: Path, poses: np.ndarray, header: str | None = None, sign: str = ",") -> None:
    names = [f"{joint}_{axis}" for joint in SKELETON["joints"] for axis in "xyz"]
    lines = [header or sign.join(names)]
    lines += [sign.join(map(repr, row)) for row in poses.reshape(len(poses), -1).tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_persons(root: Path, persons: int = 2, recordings: int = 4) -> None:
    for person in range(persons):
        for number in range(recordings):
            write_csv(root / "raw" / f"p{person}" / f"w{number}.csv",
                      random_poses(seed=10 * person + number))


def read(path: Path) -> list:
    dataset = datasets.get(str(path))
    return read_own(dataset, path.parent / dataset.source.folder, "")


def test_windows_are_those_of_the_files(own, tmp_path):
    write_persons(tmp_path)
    run(6, "--dataset", own(), "--out", tmp_path / "out")
    folder = tmp_path / "out" / "mine" / "6"
    windows, labels, _ = read_part(folder / "test_npy_data" / "probe", "mine_6", 4)
    rows = read_split(folder)["recordings"]
    assert [row["split"] for row in rows.values()].count("probe") == 2
    expected = [
        random_poses(seed=10 * person + int(name[-5])) for name, row in rows.items()
        for person in [int(name[1])] if row["split"] == "probe"
    ]
    np.testing.assert_array_equal(windows, [poses[i:i + 6] for poses in expected for i in (0, 6)])
    assert labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("header", "sign", "changes"),
    [("Hip X,Hip Y,Hip Z,Head X,Head Y,Head Z,LeftFoot-x,LeftFoot-y,LeftFoot-z,right.foot.x,"
      "right.foot.y,right.foot.z", ",", {}),
     ("\ufeff" + ";".join(f"{joint}:{axis}" for joint in ("hip", "head", "L", "R")
                          for axis in "xyz"), ";",
      {"columns": "{joint}:{axis}", "joint_names": {"left foot": "L", "right foot": "R"}})])
def test_columns_are_known_by_their_letters(own, tmp_path, header, sign, changes):
    write_csv(tmp_path / "raw" / "p0" / "w0.csv", random_poses(), header, sign)
    (recording,) = read(own(**changes))
    np.testing.assert_array_equal(recording.frames, random_poses())


def test_columns_without_a_header(own, tmp_path):
    path = tmp_path / "raw" / "p0" / "w0.csv"
    write_csv(path, random_poses())
    lines = [f"{number},{line}" for number, line in enumerate(path.read_text().splitlines()[1:])]
    path.write_text("\n".join(lines))
    (recording,) = read(own(header=["frame", "{joint}_{axis}"]))
    np.testing.assert_array_equal(recording.frames, random_poses())


def as_mediapipe(poses: np.ndarray, key: str) -> list:
    frames = [[dict(zip("xyz", point, strict=True), visibility=0.9) for point in pose]
              for pose in poses.tolist()]
    return [{key: {"landmark": frame} if key == "poseWorldLandmarks" else [frame]}
            for frame in frames] + [{key: []}]


@pytest.mark.parametrize("key", ["poseWorldLandmarks", "pose_world_landmarks"])
def test_mediapipe(own, tmp_path, key):
    path = tmp_path / "raw" / "p0" / "w0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"frames": as_mediapipe(random_poses(), key)}))
    (recording,) = read(own(format="mediapipe", recordings="{person}/{recording}.json"))
    np.testing.assert_array_equal(recording.frames[:-1], random_poses())
    assert np.isnan(recording.frames[-1]).all() and recording.lost["dropped"] == 1


@pytest.mark.parametrize("size", [2, 3])
def test_openpose(own, tmp_path, size):
    """A file a frame; the person of the highest confidence; 2D has z = 0."""
    folder = tmp_path / "raw" / "p0" / "walk"
    poses = random_poses()[:1] + 0.01 * random_poses()
    folder.mkdir(parents=True)
    for number, pose in enumerate(poses):
        people = [
            np.insert(pose[:, :size] + 9 * i, size, 0.2 + 0.6 * (i == 0), axis=1).ravel().tolist()
            for i in (1, 0)
        ]
        content = {"people": [{f"pose_keypoints_{size}d": person} for person in people]}
        (folder / f"walk_{number}_keypoints.json").write_text(json.dumps(content))
    (recording,) = read(own(format="openpose", recordings="{person}/{recording}"))
    np.testing.assert_array_equal(recording.frames[..., :size], poses[..., :size])
    assert recording.lost == {"frames with several people": 15}
    assert not recording.frames[..., size:].any()


def test_arrays_units_and_confidences(own, tmp_path):
    poses = np.concatenate([random_poses(), np.ones((15, 4, 1))], axis=-1)
    poses[7, 2, 3] = 0.1
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "raw" / "p0_w0.npy", poses)
    changes = {"format": "npy", "recordings": "{person}_{recording}.npy", "unit": "cm"}
    (recording,) = read(own(**changes, least_confidence=0.5))
    assert recording.lost == {
        "repaired": 0, "dropped": 1, "joints without number": 0, "joints of low confidence": 1,
        "joints not seen": 0, "joints at -1": 0, "joints at zero": 0, "longest gap": 1
    }
    np.testing.assert_allclose(np.delete(recording.frames, 7, 0),
                               np.delete(random_poses(), 7, 0) / 100)
    assert [len(piece) for piece in recording.sequences()] == [7, 7]
    assert [len(piece) for piece in recording.sequences(2, 8)] == [5]


def write_table(root: Path, *lines: str) -> None:
    write_persons(root)
    (root / "raw" / "table.csv").write_text("\n".join(["file,person,split,frames", *lines]) + "\n")


LINES = ("p0/w0.csv,anna,train,15", "p0/w1.csv,anna,gallery,", "p0/w2.csv,anna,probe,15",
         "p1/w0.csv,bert,train,", "p1/w1.csv,bert,gallery,15", "p1/w2.csv,bert,probe,")
TABLE = {"table": "table.csv", "recordings": None}


def test_a_table_names_persons_and_splits(own, tmp_path):
    write_table(tmp_path, *LINES)
    run(6, "--dataset", own(**TABLE), "--out", tmp_path / "out")
    rows = read_split(tmp_path / "out" / "mine" / "6")["recordings"]
    assert {name: (row["person"], row["split"]) for name, row in rows.items()} == {
        line.split(",")[0]: (line.split(",")[1] == "bert", line.split(",")[2]) for line in LINES
    }


def test_a_person_with_one_recording_trains(own, tmp_path, caplog):
    write_persons(tmp_path)
    write_csv(tmp_path / "raw" / "p2" / "w0.csv", random_poses(seed=20))
    run(6, "--dataset", own(), "--out", tmp_path / "out")
    rows = read_split(tmp_path / "out" / "mine" / "6")["recordings"]
    assert rows["p2/w0.csv"]["split"] == "train"
    assert "1 of 3 persons have no recording in split 'probe' (the first: p2)" in caplog.text


def test_training_on_other_persons_than_are_tested(own, tmp_path):
    write_table(tmp_path, *LINES[1:3], LINES[3])
    run(6, "--dataset", own(**TABLE), "--out", tmp_path / "out")
    assert (tmp_path / "out" / "mine" / "6" / "split.json").is_file()


@pytest.mark.parametrize(
    ("lines", "message"),
    [((LINES[1], *LINES[3:]), "p0/w1.csv: expected recordings of its person in two or more"),
     ((*LINES[:2], *LINES[3:5]), "frames in split 'probe', found none among its 0; choose"),
     ((*LINES[:5], "p1/w2.csv,carl,probe,"), "p1/w2.csv: expected recordings of its person in two"),
     ((*LINES, LINES[0]), "after {}/raw/p0/w0.csv; remove a line"),
     ((*LINES, "p1/w3.csv,bert,trian,"), "line 8: split: unknown 'trian'; did you mean 'train'?"),
     ((*LINES, "p1/w3.csv,bert,train,16"), "line 8: expected 16 frames in"),
     ((*LINES, "p1/w3.csv,bert,train,,"), "line 8: expected 4 cells, as in line 1, found 'more'"),
     ((*LINES, ",bert,train,"), "line 8: expected the name of a file, found 'none'"),
     ((*LINES, "p1/w3.csv,,train,"), "line 8: expected the name of a person, found 'none'"),
     ((*LINES, "p1/w9.csv,bert,train,"), "w9.csv: expected csv, frames of 4 joints (stick)")])
def test_a_wrong_table(own, tmp_path, capsys, lines, message):
    write_table(tmp_path, *lines)
    said = refused(capsys, 6, "--dataset", own(**TABLE), "--out", tmp_path / "out")
    assert message.format(tmp_path) in said
    assert not list((tmp_path / "out").glob("mine/6/*"))


@pytest.mark.parametrize(("changes", "message"), [
    ({"skeleton": "cocco"}, "skeleton: unknown 'cocco'; did you mean 'coco'?"),
    ({"longest_gab": 3}, "mine.yaml: unknown 'longest_gab'; did you mean 'longest_gap'?"),
    ({"unit": None}, "mine.yaml: expected the key 'unit', found 'none'"),
    ({"up": "Y"}, "mine.yaml: up: expected one of x, -x, y, -y, z, -z, found 'Y'"),
    ({"up": 3}, "mine.yaml: up: expected one of x, -x, y, -y, z, -z, found 3"),
    ({"unit": "M"}, "unit: expected one of m, cm, mm or a number above 0, found 'M'"),
    *(({"unit": unit}, "unit: expected one of m, cm, mm or a number above 0, found ")
      for unit in (0.0, -1.0, float("nan"), float("inf"))),
    ({"longest_gap": "three"}, "longest_gap: expected a whole number, found 'three'"),
    ({"longest_gap": -3}, "longest_gap: expected a whole number >= 0, found -3"),
    ({"joint_names": {"hip": 3}}, "joint_names: expected text (quote what looks like a number)"),
    ({"joint_names": ["hip"]}, "joint_names: expected names with values, key: value, found ['hip'"),
    *(({"name": name}, f"name: expected letters that a folder can have, found {name!r}")
      for name in ("", "..", ".hidden", "a/b", "a\\b", "a:b", "a\tb", " ")),
    ({"recordings": None}, "expected either recordings or table, found 'none'"),
    ({"table": "table.csv"}, "expected either recordings or table, found 'both'"),
    ({"recordings": "{recording}.csv"}, "expected {person} in it"),
    ({"recordings": "x/{person}.csv"}, "expected recordings as x/{person}.csv names them"),
    ({"folder": "rwa"}, "{person}/{recording}.csv names them, found no such folder"),
    *(({"recordings": path}, "recordings: expected a path from folder on, with / between folders")
      for path in ("/data/{person}/*.csv", "../{person}/*.csv", "C:/{person}.csv",
                   "{person}\\{recording}.csv")),
    ({"recordings": "{person}/{session}/*.csv"
      }, "recordings: expected {person}, {recording}, {split} alone in braces, found '{session}'"),
    ({"recordings": "{person}/{recroding}.csv"}, "found '{recroding}'"),
    ({"recordings": "{person}/{recording.csv"}, "found '{'"),
    ({"columns": "{joint}_x"}, "columns: expected {axis} in it, found '{joint}_x'"),
    ({"columns": "{joint}_{axes}_{axis}"
      }, "columns: expected {joint}, {axis} alone in braces, found '{axes}'"),
    ({"confidence": "{name}_score"}, "confidence: expected {joint} alone in braces"),
    ({"header": ["frame", "{joint}.{axis}"]
      }, "header: expected {joint}_{axis} alone in braces, found '{joint}'"),
    ({"recordings": "{person}/*.csv", "name": "KGBD"}, "a name of its own, found 'KGBD'"),
    ({"least_confidence": 0.5}, "expected the columns of confidence"),
    ({"columns": "{joint}.{axis}.value"}, "line 1: expected the columns hip.x.value"),
    (TABLE, "table.csv: expected the table of recordings")
])
def test_a_wrong_description(own, tmp_path, capsys, changes, message):
    write_persons(tmp_path)
    words = 6, "--dataset", own(**changes), "--out", tmp_path / "out"
    assert message in refused(capsys, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_a_least_confidence_without_confidences(own, tmp_path, capsys, form):
    poses, path = random_poses(), tmp_path / "raw" / "p0" / f"w0.{form}"
    path.parent.mkdir(parents=True)
    changes = {"format": form, "recordings": f"{{person}}/{{recording}}.{form}"}
    save = np.save if form == "npy" else np.savez
    save(path, poses)
    said = refused(capsys, 6, "--dataset", own(**changes, least_confidence=0.5))
    assert "w0." in said and "a confidence of each joint, as least_confidence needs it" in said
    assert len(read(own(**changes))) == 1
    save(path, np.insert(poses, 3, 0.4, axis=2))
    path = own(**changes, least_confidence=0.3)
    np.testing.assert_array_equal(read(path)[0].frames, poses)


def test_a_key_twice_and_numbers_with_an_exponent(own, tmp_path, capsys):
    write_persons(tmp_path)
    path = own()
    text = path.read_text()
    path.write_text(text.replace("unit: m\n", "unit: 1e-3\n"), encoding="utf-16")
    assert read(path)[0].frames == pytest.approx(random_poses() / 1000)
    path.write_text(text + "up: -y\n")
    said = refused(capsys, 6, "--dataset", path, "--out", tmp_path / "out")
    assert "found the key 'up' twice" in said and "line 7" in said
    path.write_text("anna")
    said = refused(capsys, 6, "--dataset", path, "--out", tmp_path / "out")
    assert "mine.yaml: expected names with values, key: value, found 'anna'" in said


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_compared_in_one_form(own, tmp_path, form):
    """As macOS unpacks them: with an accent as a letter of its own."""
    forms = [normalize(form, "Jürgen"), normalize("NFD" if form == "NFC" else "NFC", "Jürgen")]
    for number in range(4):
        write_csv(
            tmp_path / "raw" / normalize("NFD", "Läufer") / forms[number // 2] / f"{number}.csv",
            random_poses())
    recordings = read(own(recordings=normalize(form, "Läufer") + "/{person}/{recording}.csv"))
    assert [recording.person for recording in recordings] == [0, 0, 0, 0]
    lines = [
        f"Läufer/{forms[0]}/0.csv,{forms[0]}", f"Läufer/{forms[0]}/1.csv,{forms[1]}",
        f"Läufer/{forms[1]}/2.csv,{forms[1]}"
    ]
    (tmp_path / "raw" / "table.csv").write_text("\n".join(["File, Person", *lines]))
    assert [recording.person for recording in read(own(**TABLE))] == [0, 0, 0]


def test_folders_between_that_do_not_count(own, tmp_path):
    write_csv(tmp_path / "raw" / "a[1]" / "b" / "p0" / "w0.csv", random_poses())
    write_csv(tmp_path / "raw" / "a[1]" / "p1" / "w0.csv", random_poses())
    assert [each.person for each in read(own(recordings="a[1]/**/{person}/*.csv"))] == [0, 1]


def test_two_recordings_of_one_name(own, tmp_path, capsys):
    for day in ("day1", "day2"):
        write_csv(tmp_path / "raw" / day / "p0" / "w0.csv", random_poses())
    path = own(recordings="*/{person}/{recording}.csv")
    said = refused(capsys, 6, "--dataset", path, "--out", tmp_path / "out")
    assert f"{path}: expected every recording once, found {tmp_path}/raw/day2/p0/w0.csv" in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("head_y", "heed_y", "line 1: expected the columns head_y, found heed_y; `joint_names` says"),
     ("head_x,head_y", "heed_x,heed_y", "the columns head_x, head_y, found heed_x, heed_y; `joint"),
     ("head_x,head_y,", "", "the columns head_x, head_y, found no others; `joint_names`"),
     ("\n0.", "\nzero.", "column hip_x: expected numbers, found 'zero."),
     (None, "1,2,3\n", "line 17: expected 12 cells, as the header has, found '3 cells'")])
def test_wrong_files(own, tmp_path, capsys, old, new, message):
    write_persons(tmp_path)
    path = tmp_path / "raw" / "p1" / "w2.csv"
    path.write_text(path.read_text().replace(old, new, 1) if old else path.read_text() + new)
    said = refused(capsys, 6, "--dataset", own(), "--out", tmp_path / "out")
    assert f"{path}, line" in said and message in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("joints", ["hip", "head", "hip"], "joints: expected every joint once, found 'hip' twice"),
     ("joints", ["hip"], "joints: expected two or more, found 1"),
     ("bones", [["hip", "haed"]], "bones: unknown 'haed'; did you mean 'head'?"),
     ("root", ["hips"], "root: unknown 'hips'; did you mean 'hip'?"),
     ("landmarks", {"spin": ["hip"]}, "landmarks: unknown 'spin'; did you mean 'spine'?"),
     ("parts", {"legs": ["left food"]}, "parts: unknown 'left food'; did you mean 'left foot'?"),
     ("part_edges", [["legs", "head"]], "part_edges: unknown 'legs'"),
     ("jionts", [], "unknown 'jionts'; did you mean 'joints'?")])
def test_a_wrong_skeleton(own, tmp_path, capsys, key, value, message):
    path = own()
    (tmp_path / "stick.yaml").write_text(yaml.safe_dump(SKELETON | {key: value}))
    said = refused(capsys, 6, "--dataset", path, "--out", tmp_path / "out")
    assert f"{tmp_path}/stick.yaml: {message}" in said


def test_an_unknown_data_set_says_how_own_data_is_given(tmp_path, capsys):
    for script in ("train_simmc", "train_smsge", "evaluate", "preprocess"):
        first = (6,) if script == "preprocess" else ()
        said = error_of(capsys, script, *first, "--dataset", "mine")
        assert "unknown data set 'mine'" in said and "FILE.yaml (docs/09-own-data.md)" in said
    with pytest.raises(InputError, match="expected a YAML file"):
        datasets.get(str(tmp_path / "nothing.yaml"))


def test_a_skeleton_without_parts_trains_in_the_other_scales(own, tmp_path, capsys):
    write_persons(tmp_path)
    words = ("--dataset", own(), "--data", tmp_path / "out", "--out", tmp_path / "runs", "--quiet")
    run(6, "--dataset", own(), "--out", tmp_path / "out")
    said = error_of(capsys, "train_smsge", *words, "--epochs", 1)
    assert "the skeleton stick has no parts, of which scale P is made: add them to its file" in said


def test_one_person(own, tmp_path, caplog):
    write_persons(tmp_path, persons=1)
    run(6, "--dataset", own(), "--out", tmp_path / "out")
    assert "mine: one person: nobody to mistake for" in caplog.text
