"""Raw recordings in their many spellings: folders, file names, joint names, line ends, MATLAB."""

import shutil

import numpy as np
import pytest
from raw_data import random_kgbd, read_split, run, write_kgbd
from scipy.io import savemat

from skeleton_reid import data
from skeleton_reid.data.datasets import DATASETS
from skeleton_reid.data.raw import kgbd as raw_kgbd
from skeleton_reid.data.raw.formats import RAW, find


@pytest.mark.parametrize("folder", [
    "KGBD/kinect gait raw dataset", "KGBD/Data", "KinectGait/Data", "KinectGait-master/Data", "Data"
])
def test_kgbd_folders_and_joint_orders(folder, tmp_path):
    """Both layouts are found, read-me files are ignored, and both joint orders hold the same
    joints.
    """
    frames = random_kgbd(persons=2, recordings=4, length=30)
    write_kgbd(tmp_path / folder, frames)
    for place in (tmp_path / folder, tmp_path / folder / "Person001"):
        (place / "readme.txt").write_text("not a recording")
    root = find(DATASETS["KGBD"], tmp_path)
    assert root == tmp_path / folder
    kinect, as_listed = (RAW["KGBD"].read(root, order) for order in ("kinect", "file"))
    for first, second in zip(kinect, as_listed, strict=True):
        assert np.array_equal(first.frames, frames[first.name])
        assert np.array_equal(second.frames[:, 0], first.frames[:,
                                                                3])  # the files list the head first
        assert np.array_equal(second.frames[:, 11], first.frames[:, 0])
    run(6, "--raw", tmp_path, "--out", tmp_path / "out", "--joint_order", "file")
    assert read_split(tmp_path / "out" / "KGBD" / "6")["joint_order"] == "file"


LATER = [11, 10, 1, 0, 2, 4, 6, 8, 3, 5, 7, 9, 12, 14, 16, 18, 13, 15, 17, 19]


def test_later_joint_order_is_that_of_the_authors_later_code(tmp_path):
    """Which subtracts joint 0 of the files, the head, and then puts the joints in this order."""
    write_kgbd(tmp_path / "Data", random_kgbd(persons=2, recordings=4, length=30))
    sets = []
    for order in ("file", "later"):
        out = tmp_path / order
        run(6, "--raw", tmp_path, "--out", out, "--joint_order", order)
        sets.append(data.load("KGBD", "probe", 6, out, shuffle=False))
    for part in ("train", "probe", "gallery"):
        file, later = (getattr(own, part).skeletons for own in sets)
        assert not file[:, :, 0].any() and not later[:, :, 3].any()
        np.testing.assert_allclose(later, file[:, :, LATER], atol=1e-5)


def test_joint_names_in_many_spellings():
    assert [
        raw_kgbd.joint_number(name)
        for name in ("Hip-centro", "HipCenter", "hip_centre", "Center-Hip")
    ] == [0] * 4
    assert raw_kgbd.joint_number("\nShoulder-Left") == raw_kgbd.joint_number("left shoulder") == 4
    assert (raw_kgbd.joint_number("Foot-Right") == 19 and raw_kgbd.joint_number("Spine") == 1
            and raw_kgbd.joint_number("Head") == 3)
    assert (raw_kgbd.joint_number("Neck") is None and raw_kgbd.joint_number("Hip") is None
            and raw_kgbd.joint_number("") is None)


def test_kgbd_spelling_and_line_ends_do_not_matter(tmp_path):
    frames = {
        "Person001/1.txt": np.random.RandomState(0).normal(size=(5, 20, 3)) * 10.0**-np.arange(3)
    }
    write_kgbd(tmp_path, frames)
    path = tmp_path / "Person001" / "1.txt"
    text = path.read_text()
    for variant in (text, text.replace("\n", "\r\n"), text.replace("Spine",
                                                                   " spine "), text + "\n"):
        path.write_bytes(variant.encode())
        (recording,) = RAW["KGBD"].read(tmp_path, "kinect")
        assert np.array_equal(recording.frames, frames["Person001/1.txt"])


def test_kgbd_end_within_a_frame_is_dropped_with_a_warning(tmp_path, caplog):
    write_kgbd(tmp_path, {"Person001/1.txt": np.ones((5, 20, 3))})
    path = tmp_path / "Person001" / "1.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-3]))
    (recording,) = RAW["KGBD"].read(tmp_path, "kinect")
    assert len(recording.frames) == 4 and "end within a frame" in caplog.text


def test_biwi_frames_sort_by_number(released_trees, tmp_path):
    """File names without leading zeros: frame 10 follows frame 9."""
    shutil.copytree(released_trees / "BIWI", tmp_path / "BIWI")
    for path in list((tmp_path / "BIWI").rglob("*skel.txt")):
        path.rename(path.with_name(f"{int(path.name.split('-')[0])}-a_skel.txt"))
    names = [own.name for own in RAW["BIWI"].read(tmp_path / "BIWI", "kinect")]
    assert names[0] == "Training/001"
    for own, padded in zip(RAW["BIWI"].read(tmp_path / "BIWI", "kinect"),
                           RAW["BIWI"].read(released_trees / "BIWI", "kinect"), strict=True):
        assert np.array_equal(own.frames, padded.frames)


def test_ks20_mat_files_equal_txt_files(released_trees, tmp_path):
    text = RAW["KS20"].read(released_trees / "KS20", "kinect")
    for path in (released_trees / "KS20").rglob("*_skel.txt"):
        place = tmp_path / path.parent.name / f"{path.stem}.mat"
        place.parent.mkdir(exist_ok=True)
        numbers = np.loadtxt(path, delimiter=",")
        # With and without the id, a joint a row or a joint a column.
        savemat(place, {"skeleton": [numbers, numbers[:, 1:], numbers.T][len(path.name) % 3]})
    for own, expected in zip(RAW["KS20"].read(tmp_path, "kinect"), text, strict=True):
        assert own.name == expected.name and own.person == expected.person
        assert np.array_equal(own.frames, expected.frames)


def longer(text: str) -> str:
    """Lines as BIWI and IAS are distributed: person, …, and the link's joints and quaternion."""
    return "".join(f"1,{line.split(',', 1)[1]},0,1,-nan(ind),0.1,0.2,0.9\n"
                   for line in text.splitlines())


@pytest.mark.parametrize("name", ["BIWI", "IAS"])
def test_padua_sets_as_they_are_distributed(name, released_trees, tmp_path, caplog):
    """14 fields, whatever follows, byte order marks, CRLF, system files, deeper folders."""
    expected = RAW[name].read(released_trees / name, "kinect")
    root = tmp_path / name
    shutil.copytree(released_trees / name, root)
    for path in root.rglob("*skel.txt"):
        text = longer(path.read_text())
        if name == "BIWI":
            text = "".join(text.splitlines(keepends=True)[:20]) + "no joint\n1,2\n"
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        path.with_name("Thumbs.db").write_bytes(b"\0")
        path.with_name(f"._{path.name}").write_bytes(b"\0")
        path.with_name(path.name.replace("skel.txt", "rgb.jpg")).write_bytes(b"\xff")
    (root / "Training" / "desktop.ini").write_text("[]")
    (root / "Training" / "__MACOSX" / "7").mkdir(parents=True)
    (root / "Training" / "__MACOSX" / "7" / "0_skel.txt").write_text("x")
    (root / "Training" / "notes").mkdir()
    for person in (root / "Training").iterdir():  # one more folder: of the archive, or of the files
        if person.is_dir() and person.name not in ("notes", "__MACOSX"):
            person.rename(person.with_name("files"))
            person.mkdir()
            person.with_name("files").rename(person / "skeletons")
    found = RAW[name].read(root, "kinect")
    assert "Training/notes: no ...skel.txt in it" in caplog.text
    for own, theirs in zip(found, expected, strict=True):
        assert own.person == theirs.person and own.group == theirs.group
        assert np.array_equal(own.frames, theirs.frames)


def test_a_frame_with_nobody_is_dropped(released_trees, tmp_path):
    """As BIWI marks it: the first field is 0, and so is the tracking state; one line will do."""
    shutil.copytree(released_trees / "BIWI", tmp_path / "BIWI")
    before = RAW["BIWI"].read(tmp_path / "BIWI", "kinect")[0]
    folder = tmp_path / "BIWI" / before.name
    for number in (1, 2):
        (folder / f"{number:06d}-a_9_skel.txt").write_text("0,0,0,0,0,0,0,0,0,0,0,0,0,0\n")
    (after, *_) = RAW["BIWI"].read(tmp_path / "BIWI", "kinect")
    assert np.array_equal(after.frames, before.frames)


def test_ks20_reads_three_fields_of_25_lines(released_trees, tmp_path):
    shutil.copytree(released_trees / "KS20", tmp_path / "KS20")
    for path in list((tmp_path / "KS20").rglob("*_skel.txt")):
        text = path.read_text().replace("\n", ",2,0.5\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"and so on\r\n\r\n")
        path.with_name("Thumbs.db").write_bytes(b"\0")
        path.rename(path.with_suffix(".TXT"))
    for own, expected in zip(RAW["KS20"].read(tmp_path / "KS20", "kinect"),
                             RAW["KS20"].read(released_trees / "KS20", "kinect"), strict=True):
        assert own.name == expected.name and np.array_equal(own.frames, expected.frames)
