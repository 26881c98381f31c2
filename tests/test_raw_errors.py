"""Every kind of bad raw data and wrong use: one line with file and line number, exit code 2,
nothing written.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import unpack
from raw_data import AUTHOR_ORDER, random_kgbd, refused, run, write_casia_b, write_kgbd
from scipy.io import savemat

from skeleton_reid.data.simulate import simulate


def replace_line(path: Path, line: int, text: str | None) -> None:
    """Put `text` in place of a line (counted from 1); None removes it."""
    lines = path.read_text().splitlines()
    lines[line - 1:line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    """Nothing is written into the project, whatever a test forgets."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kgbd(tmp_path) -> Path:
    write_kgbd(tmp_path / "KGBD" / "Data", random_kgbd(persons=2, recordings=4, length=30))
    return tmp_path / "KGBD" / "Data" / "Person002" / "3.txt"


@pytest.mark.parametrize(("line", "text", "message"), [
    (45, "Wrist-Right;0.1;0.2", "line 45: expected Name;x;y;z, found 'Wrist-Right;0.1;0.2'"),
    (45, "Elbow-Right;0.1;0.2;0.3;0.4", "line 45: expected Name;x;y;z"),
    (45, "Elbow-Right;0.1;0.2;O.3", "line 45: expected Name;x;y;z, found 'Elbow"),
    (45, "Elbow-Right;0.1;nan;0.3", "line 45: expected finite coordinates"),
    (45, "Elbow-Right;0.1;inf;0.3", "line 45: expected finite coordinates"),
    (45, "Tail;0.1;0.2;0.3", "line 45: expected elbow right, as in the first frame, found 'Tail'"),
    (3, "Neck;0.1;0.2;0.3", "line 3: expected each joint once a frame, found 'Neck'"),
    (45, None, "line 45: expected elbow right, as in the first frame, found 'Elbow-Left'"),
    (3, None, "line 20: expected each joint once a frame, found 'Head'"),
    (45, "Head;0.1;0.2;0.3", "line 45: expected elbow right, as in the first frame, found 'Head'")
])
def test_broken_kgbd_lines(kgbd, tmp_path, capsys, line, text, message):
    replace_line(kgbd, line, text)
    said = refused(capsys, 6, "--raw", tmp_path, "--out", tmp_path / "out")
    assert f"error: {kgbd}, {message}" in said
    assert not (tmp_path / "out").exists()


def test_line_break_within_a_kgbd_line(kgbd, tmp_path, capsys):
    """Fields that would add up over two lines do not pass."""
    kgbd.write_text(kgbd.read_text().replace("\nSpine;", "\nSpine\n", 1))
    assert f"{kgbd}, line 11: expected Name;x;y;z" in refused(capsys, 6, "--raw", tmp_path)


def test_empty_and_truncated_kgbd_files(kgbd, tmp_path, capsys):
    kgbd.write_text("Head;1;2;3\n")
    assert f"{kgbd}, end: expected 20 joints a frame, found '1 in all'" in refused(
        capsys, 6, "--raw", tmp_path)
    kgbd.write_text("")
    assert f"{kgbd}: expected lines with joints, found an empty file" in refused(
        capsys, 6, "--raw", tmp_path)
    kgbd.write_bytes(bytes(range(256)) * 9)
    assert str(kgbd) in refused(capsys, 6, "--raw", tmp_path)
    shutil.rmtree(kgbd.parent)
    kgbd.parent.mkdir()
    assert f"{kgbd.parent}: expected recordings (*.txt)" in refused(capsys, 6, "--raw", tmp_path)


def test_kgbd_files_in_different_joint_orders(kgbd, tmp_path, capsys):
    write_kgbd(kgbd.parents[1], {"Person002/3.txt": np.ones((40, 20, 3))}, order=AUTHOR_ORDER[::-1])
    said = refused(capsys, 6, "--raw", tmp_path, "--joint_order", "file")
    assert f"{kgbd}: expected the joint order of" in said and "--joint_order kinect" in said
    run(6, "--raw", tmp_path, "--out", tmp_path / "out")


@pytest.mark.parametrize(("recordings", "lacking"), [(1, "gallery and probe"), (2, "train")])
def test_too_few_kgbd_recordings_of_every_person(tmp_path, capsys, recordings, lacking):
    write_kgbd(tmp_path / "KGBD", random_kgbd(persons=2, recordings=recordings, length=30))
    said = refused(capsys, 6, "--raw", tmp_path, "--out", tmp_path / "out")
    assert "KGBD: expected at least 3 recordings of a person" in said
    assert (f"found {2 * recordings} recordings of 2 persons, which leave none for {lacking};"
            in said)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def whole(golden, tmp_path_factory) -> Path:
    """The golden raw trees and files."""
    folder = tmp_path_factory.mktemp("whole")
    unpack(golden("preprocess.tar.xz"), folder)
    return folder


@pytest.fixture
def raw(whole, tmp_path) -> Callable[..., Path]:
    """raw("IAS", ...): a folder with copies of these data sets' raw trees, to be broken."""
    def copy(*names: str) -> Path:
        for name in names:
            shutil.copytree(whole / name, tmp_path / name)
        return tmp_path

    return copy


def change(line: int, text: str | None) -> Callable[[Path], None]:
    return lambda path: replace_line(path, line, text)


def empty(path: Path) -> None:
    path.write_text("")


KINECT_V1_FRAMES = [
    (change(4, "3,1,2,3,0,0,2"), ", line 4: expected id,x,y,z,u,v,TrackingState,QualityFlag"),
    (change(4, "3,1,2,x,0,0,2,1"),
     ", line 4: expected id,x,y,z,u,v,TrackingState,QualityFlag in numbers, found '3,1,2,x"),
    (change(4, "3,1,2,inf,0,0,2,1"), ", line 4: expected finite coordinates"),
    (change(4, None), ", line 19: expected 20 lines, one a joint"),
    (empty, ": expected lines with joints, found an empty file")
]
KS20_FRAMES = [(change(7, "6,1,2"), ", line 7: expected id,x,y,z"),
               (change(7, "6,1,2,"), ", line 7: expected id,x,y,z in numbers, found '6,1,2,'"),
               (change(7, "6,1,nan,2"), ", line 7: expected finite coordinates"),
               (change(7, None), ", line 24: expected 25 lines, one a joint, found '24 lines'"),
               (empty, ": expected lines with joints, found an empty file")]
FRAMES = [("IAS", "IAS/TestingB/p10/00007_skel.txt", *case) for case in KINECT_V1_FRAMES]
FRAMES += [("KS20", "KS20/left_lateral/gc2_body1_100132_skel.txt", *case) for case in KS20_FRAMES]


@pytest.mark.parametrize(("dataset", "name", "damage", "message"), FRAMES)
def test_broken_frames(raw, capsys, dataset, name, damage, message):
    raw = raw(dataset)
    damage(raw / name)
    said = refused(capsys, 6, "--raw", raw, "--out", raw / "out", "--dataset", dataset)
    assert f"error: {raw / name}{message}" in said
    assert not (raw / "out").exists()


def test_more_lines_than_joints_are_refused_in_ias_alone(raw, capsys):
    raw = raw("IAS")
    path = raw / "IAS/Training/p0/00004_skel.txt"
    path.write_text(path.read_text() + "20,0,0,0,0,0,2,0\n")
    said = refused(capsys, 6, "--raw", raw, "--out", raw / "out", "--dataset", "IAS")
    assert "line 21: expected 20 lines, one a joint, found '21 lines'" in said


def test_ks20_with_one_setting(raw, capsys):
    raw = raw("KS20")
    for path in (raw / "KS20").glob("*/gc[12]_*"):
        path.unlink()
    said = refused(capsys, 6, "--raw", raw, "--out", raw / "out", "--dataset", "KS20")
    assert ("KS20: expected the three settings of a person, one each for train, gallery and probe,"
            in said)


def test_missing_folders_and_misnamed_files(raw, capsys):
    raw = raw("BIWI", "IAS", "KS20")

    def said(dataset: str) -> str:
        return refused(capsys, 6, "--raw", raw, "--out", raw / "out", "--dataset", dataset)

    still = raw / "BIWI" / "Testing" / "Still"
    next(still.iterdir()).rename(still / "somebody")
    assert "Still/somebody: expected a folder named by a person's number" in said("BIWI")
    shutil.rmtree(still)
    assert "Testing/Still: expected one folder a person, with one ...skel.txt" in said("BIWI")
    frame = raw / "KS20" / "frontal" / "gc1_body5_100000_skel.txt"
    frame.write_text("")
    assert f"{frame}: expected <gc1-gc3>_body<N>_<timestamp>" in said("KS20")
    frame.unlink()
    frame.with_name("gc1_body1_100000_skel.mat").write_text("")
    assert "expected .txt or .mat, found frames in both" in said("KS20")
    frame.with_name("gc1_body1_100000_skel.txt").unlink()
    mat = frame.with_name("gc1_body1_100000_skel.mat")
    assert f"{mat}: expected a MATLAB file" in said("KS20")
    savemat(mat, {"Skel": np.ones((25, 2)), "time": 3})
    assert "found Skel float64 (25, 2), time int64 (1, 1)" in said("KS20")
    shutil.rmtree(raw / "KS20" / "frontal")
    assert "KS20/frontal: expected one .txt or .mat a frame, found none" in said("KS20")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("001-nm-02-000.csv", "1,2,3\n1,2\n",
      ": expected a whole .csv file of numbers, found the number of columns changed"),
     ("001-nm-02-000.csv", "1,2,3\n1,2,x\n",
      ": expected a whole .csv file of numbers, found could not convert string 'x'"),
     ("001-nm-02-000.csv", "1,2,3\n" * 13 + "1,2,nan\n", ", frame 1: expected finite coordinates"),
     ("001-nm-02-000.csv", "1,2,3\n1,2,3\n",
      ": expected numbers (frames, 14, 3), found float64 (2, 3)"),
     ("001-nm-02-000.csv", "", ": expected lines with joints, found an empty file"),
     ("001-nm-02-000.json", "[[1, 2", ": expected a whole .json file of numbers"),
     ("001-nm-02-000.json", "[[1, 2], [3]]", ": expected a whole .json file of numbers"),
     ("001-nm-02-000.json", "[[1, 2], [3, 4]]",
      ": expected numbers (frames, 14, 3), found float64 (2, 2)"),
     ("001-nm-02-000.json", "[]", ": expected numbers (frames, 14, 3)"),
     ("001-nm-02-000.npy", "no array", ": expected a whole .npy file of numbers"),
     ("001-xx-02-000.csv", "", ": expected a video named"),
     ("001-nm-02-017.csv", "", ": expected a video named"),
     ("001-nm-01-000.csv", "1,2,3\n" * 14, ": expected one file a video")])  # fmt: skip
def test_broken_casia_b_videos(tmp_path, capsys, name, content, message):
    write_casia_b(tmp_path / "CASIA_B", persons=1, frames=4)
    (tmp_path / "CASIA_B" / name).write_text(content)
    np.save(tmp_path / "CASIA_B" / "001-nm-01-000.npy", np.ones((4, 14, 3)))
    said = refused(capsys, 4, "--raw", tmp_path, "--dataset", "CASIA_B")
    assert "CASIA_B/001-" in said and message in said


def test_casia_b_arrays_with_pickles_or_holes(tmp_path, capsys):
    folder = tmp_path / "CASIA_B"
    write_casia_b(folder, persons=1, frames=4)
    np.save(folder / "002-nm-01-000.npy", np.array([{}], dtype=object))
    assert "002-nm-01-000.npy: expected a whole .npy file of numbers" in refused(
        capsys, 4, "--raw", tmp_path)
    holes = np.ones((4, 14, 3))
    holes[2, 5, 1] = np.nan
    np.save(folder / "002-nm-01-000.npy", holes)
    assert "frame 3: expected finite coordinates" in refused(capsys, 4, "--raw", tmp_path)
    (folder / "002-nm-01-000.npy").unlink()
    assert "expected at least 2 persons and 2 views, found 1 and 3" in refused(
        capsys, 4, "--raw", tmp_path)


def test_wrong_use(raw, capsys):
    raw = raw("KGBD")
    assert "expected window lengths from 2 on" in refused(capsys, 1, "--raw", raw)
    assert "expected window lengths from 2 on" in refused(capsys, 6, "all", "--raw", raw)
    assert "unknown data set 'FOO'" in refused(capsys, 6, "--raw", raw, "--dataset", "FOO")
    assert "expected a whole number from 0 to 4294967295" in refused(capsys, 6, "--raw", raw,
                                                                     "--seed=-1")
    said = refused(capsys, 6, "--raw", raw / "no", "--dataset", "CASIA_B")
    assert f"found none in {raw / 'no' / 'CASIA_B'}; get it from http" in said
    assert f"python -m data.simulate --dataset CASIA_B --raw {raw / 'no'}" in said
    assert "CASIA_B below" in refused(capsys, 6, "--raw", raw / "nowhere")
    said = refused(capsys, 30, "--raw", raw, "--dataset", "KGBD", "--out", raw / "out")
    assert ("KGBD, f = 30: expected recordings of at least 50 frames in split 'train', found none"
            in said)
    assert not (raw / "out").exists()


def test_what_cannot_be_made_does_not_stop_the_rest(tmp_path, capsys):
    """A data set that is too short for one length, one that is broken, and one that is whole, which
    comes last.
    """
    simulate("KGBD", tmp_path / "raw", persons=2, frames=30, recordings=4)
    broken, *_ = simulate("IAS", tmp_path / "raw", persons=2, frames=20).glob("*/*/*.txt")
    broken.write_text("x")
    write_casia_b(tmp_path / "raw" / "CASIA_B", persons=4, frames=12)
    out = tmp_path / "out"
    said = refused(capsys, 30, 6, "--raw", tmp_path / "raw", "--out", out)
    assert "KGBD, f = 30: expected recordings of at least" in said and "KGBD, f = 6" not in said
    assert broken.name in said
    assert "CASIA_B view 10, f = 30" in said and "CASIA_B view 10, f = 6" not in said
    assert (out / "KGBD" / "6" / "split.json").is_file()
    assert (out / "CASIA_B" / "6" / "view_10" / "split.json").is_file()
    assert not list(out.glob("*/30")) and not (out / "IAS").exists()


@pytest.mark.parametrize(
    "words", ["11520 requested and 7 written", "problem writing element 5 to file"])  # fmt: skip
def test_a_full_disk_is_named_as_the_reason(kgbd, tmp_path, capsys, monkeypatch, words):
    """NumPy's error has a message and no number."""
    def save(*_):
        raise OSError(words)

    monkeypatch.setattr(np, "save", save)
    said = refused(capsys, 6, "--raw", tmp_path, "--out", tmp_path / "out")
    assert "the disk is full, or its quota is used up; choose another --out or make room" in said
    assert not (tmp_path / "out").exists()
    (tmp_path / "out" / "KGBD").mkdir(parents=True)
    refused(capsys, 6, "--raw", tmp_path, "--out", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["KGBD"]


def test_data_from_elsewhere_are_not_overwritten(raw, capsys):
    raw = raw("KGBD", "Datasets")
    said = refused(capsys, 6, "--raw", raw, "--out", raw / "Datasets", "--dataset", "KGBD")
    assert (f"{raw / 'Datasets' / 'KGBD' / '6'}: expected no data or data written by preprocess.py"
            in said)
    (raw / "file").write_text("")
    said = refused(capsys, 6, "--raw", raw, "--out", raw / "file", "--dataset", "KGBD")
    assert "cannot write" in said
