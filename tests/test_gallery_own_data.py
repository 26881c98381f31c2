"""gallery.py and skeleton_reid.read on files of one's own format."""

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import error_of, run

import skeleton_reid
from skeleton_reid import Gallery, data

DESCRIPTION = {"skeleton": "kinect_v1", "format": "npy", "unit": "m", "up": "y"}


@pytest.fixture
def described(folder):
    """described(**changes): the description of the recordings, flat/<person>-<number>.npy."""
    (folder / "flat").mkdir()
    for person in range(4):
        for number in range(3):
            shutil.copy(folder / f"p{person}" / f"{number}.npy",
                        folder / "flat" / f"person {person}-{number}.npy")

    def write_yaml(**changes):
        values = {"folder": "flat", "recordings": "{person}-{recording}.npy"} | changes
        values = {key: value for key, value in (DESCRIPTION | values).items() if value is not None}
        (folder / "mine.yaml").write_text(yaml.safe_dump(values))
        return folder / "mine.yaml"

    return write_yaml


def test_names_are_those_of_the_description(folder, described, capsys):
    """By pattern, also of files elsewhere, by table, and of windows that preprocess.py wrote."""
    file, path, checkpoint = described(), folder / "x.gallery", folder / "encoder.pt"
    new = folder / "elsewhere" / "eva-1.npy"
    new.parent.mkdir()
    shutil.copy(folder / "p5" / "0.npy", new)
    flat = sorted((folder / "flat").glob("*-0.npy"))
    words = "--dataset", file, "--checkpoint", checkpoint
    assert run("gallery", "add", path, *flat, new, *words) == 0
    expected = [f"person {n}" for n in range(4)]
    assert Gallery.load(path).names == [*expected, "eva"]
    (folder / "flat" / "table.csv").write_text("file,person\n"
                                               + "".join(f"{each.name},{each.stem[-3]}\n"
                                                         for each in flat))
    path.unlink()
    assert run("gallery", "add", path, *flat, "--dataset",
               described(recordings=None, table="table.csv"), "--checkpoint", checkpoint) == 0
    assert Gallery.load(path).names == ["0", "1", "2", "3"]
    error = error_of(capsys, "gallery", "add", path, new, "--dataset", file)
    assert "eva-1.npy: expected a file that table.csv" in error and "--name" in error
    assert run("gallery", "identify", path, new, "--dataset", file) == 0
    path.unlink()
    file = described()
    assert run("preprocess", 6, "--dataset", file, "--out", folder / "data") == 0
    assert run("gallery", "add", path, *words, "--data", folder / "data") == 0
    gallery = Gallery.load(path)
    capsys.readouterr()
    assert gallery.names == expected
    assert {own[:-6] for own in gallery.recordings} == {*expected}  # person 0-1.npy
    assert run("gallery", "identify", path, "--dataset", file, "--data", folder / "data") == 0
    printed = capsys.readouterr().out
    assert "enrolled persons, 4 recordings: identified" in printed
    for name in expected:
        own = gallery.recordings[gallery.names.index(name)]
        assert re.search(rf"^{name}-\d\.npy: .* {name} \d\.\d* \(\d*%, {own}\)",
                         printed.replace("\n  ", "  "), re.MULTILINE)


def test_a_recording_of_the_data_set_and_from_its_file(folder, described, capsys):
    file, path, out = described(), folder / "x.gallery", folder / "data"
    assert run("preprocess", 6, "--dataset", file, "--out", out) == 0
    words = "gallery", "add", path, "--dataset", file
    assert run(*words, "--checkpoint", folder / "encoder.pt", "--data", out) == 0
    recordings = Gallery.load(path).recordings
    capsys.readouterr()
    assert run(*words, folder / "flat" / recordings[1]) == 0
    said = f"warning: person 1 has another recording {recordings[1]}: is it the same?\n"
    assert capsys.readouterr().err == said
    assert Gallery.load(path).recordings == [*recordings, recordings[1]]
    assert run(*words, folder / "flat" / recordings[1]) == 0
    assert "it is not enrolled again" in capsys.readouterr().err
    assert len(Gallery.load(path).recordings) == len(recordings) + 1


def test_read_gives_frames_as_training_has_them(folder, people, described, capsys):
    """Turned to y up, in metres, cut where joints are lost; enrolled as by the command line."""
    walk = np.load(folder / "p4" / "0.npy")
    file = 1000 * walk[..., [2, 0, 1]]  # millimetres, z up
    file[10, 3, 1] = np.nan
    path = folder / "flat" / "person 4-0.npy"
    np.save(path, file)
    description = described(unit="mm", up="z")
    frames = skeleton_reid.read(path, description)
    for found, expected in zip(frames, (walk[:10], walk[11:]), strict=True):
        np.testing.assert_allclose(found, expected)
    gallery = Gallery.load(people)
    windows = [gallery.encoder.windows(piece) for piece in frames]
    np.testing.assert_array_equal(gallery.encoder.windows(frames), np.concatenate(windows))
    assert run("gallery", "add", people, path, "--dataset", description) == 0
    match, *_ = Gallery.load(people).identify(skeleton_reid.read(str(path), str(description)))
    assert match == ("person 4", 0.0, 1.0, "person 4-0.npy")
    assert repr(match) == "person 4 0.000 (100%, person 4-0.npy)"
    assert repr(gallery) == str(gallery)
    for wrong in ((path, "KS20"), (path, "none.yaml"), (folder / "none.npy", description),
                  (folder / "mine.yaml", description), (folder / "mine.yaml",)):
        with pytest.raises(skeleton_reid.InputError, match="expected"):
            skeleton_reid.read(*wrong)


def test_another_skeleton_of_as_many_joints(folder, people, described, capsys):
    skeleton = yaml.safe_load((Path(data.__file__).parent / "skeletons/kinect_v1.yaml").read_text())
    joints = skeleton["joints"]
    (folder / "mirror.yaml").write_text(yaml.safe_dump(skeleton | {"joints": joints[::-1]}))
    file = folder / "flat" / "person 0-0.npy"
    words = "gallery", "identify", people, file, "--dataset", described(skeleton="mirror.yaml")
    assert "expected recordings of the skeleton kinect_v1, as SimMC on IAS" in error_of(
        capsys, *words)


def test_what_was_lost_of_a_recording_is_said(folder, people, described, capsys):
    walk = np.load(folder / "p0" / "0.npy")
    lost, both = folder / "lost.npy", folder / "both.csv"
    np.save(lost, walk * np.nan)
    words = "gallery", "identify", people
    said = error_of(capsys, *words, lost, "--dataset", described())
    assert f"no frame has all joints (dropped {len(walk)}" in said
    rows = np.stack([walk, walk + 9], axis=1).reshape(2 * len(walk), -1)
    lines = [f"{n // 2},{','.join(map(str, row))}" for n, row in enumerate(rows.tolist())]
    both.write_text("\n".join(lines))
    assert "its --dataset FILE.yaml" in error_of(capsys, *words, both)
    file = described(format="csv", header=["frame", "{joint}_{axis}"])
    assert run(*words, both, "--dataset", file) == 0
    assert f"{len(walk)} frames with several people, one is followed" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*several people")
def test_the_table_says_who_of_a_file_is_read(folder, described, capsys):
    """Its track and frames as for preprocess.py; of several persons the one that is named."""
    walks = {name: np.load(folder / name / "0.npy") for name in ("p0", "p1")}
    lines = [
        f"{t},{track},{','.join(map(str, walk[t].ravel()))}" for t in range(25)
        for track, walk in enumerate(walks.values(), start=1)
    ]
    file, table, path = folder / "flat/both.csv", folder / "flat/table.csv", folder / "x.gallery"
    file.write_text("\n".join(lines))
    description = described(recordings=None, table="table.csv", format="csv", track="id",
                            header=["frame", "id", "{joint}_{axis}"])
    words = "gallery", "add", path, file, "--dataset", description
    checkpoint = "--checkpoint", folder / "encoder.pt"
    for track, walk in enumerate(walks.values(), start=1):
        table.write_text(f"file,person,frames,track\nboth.csv,anna,25,{track}\n")
        np.testing.assert_allclose(*skeleton_reid.read(file, description), walk)
    table.write_text("file,person,track\nboth.csv,anna,3\n")
    assert "expected the track 3, found 1, 2" in error_of(capsys, *words, *checkpoint)
    table.write_text("file,person,frames\nboth.csv,anna,24\n")
    assert "line 2: expected 24 frames" in error_of(capsys, *words, *checkpoint)
    table.write_text("file,person,track\nboth.csv,anna,2\nboth.csv,carl,1\n")
    for more in (), ("--name", "eva"):
        said = error_of(capsys, *words, *checkpoint, *more)
        assert "anna (track 2), carl (track 1), found" in said and "--name" in said
    for name in ("carl", "anna"):
        assert run(*words, *checkpoint, "--name", name) == 0
    gallery = Gallery.load(path)
    assert gallery.names == ["carl", "anna"]
    np.testing.assert_allclose(gallery.features, [*map(gallery.encoder, walks.values())], atol=1e-6)
    frames = skeleton_reid.read(file, description, person="anna")
    assert gallery.identify(frames)[0].name == "anna"
    words = "gallery", "identify", path, file, "--dataset", description
    assert "carl (track 1), found none" in error_of(capsys, *words)
    assert run(*words, "--name", "carl") == 0
    assert "both.csv: carl; nearest\n  carl 0.000 (1" in capsys.readouterr().out


def test_read_warns_as_preprocess_does(folder, people, described, capsys):
    """Of size, axes and speed, once; of nothing where all is well."""
    walk, file = np.load(folder / "p0" / "0.npy"), folder / "flat" / "walk.csv"
    keys = {
        "recordings": "{person}.csv", "format": "csv", "header": ["time", "{joint}_{axis}"],
        "unit": "m", "up": "y"
    }

    def said(rate=30, **changes):
        walking = walk + np.arange(25)[:, None, None] * [0.05, 0, 0]
        file.write_text("\n".join(f"{t / rate},{','.join(map(str, own.ravel()))}"
                                  for t, own in enumerate(walking)))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            skeleton_reid.read(file, described(**keys | changes))
        return [str(each.message) for each in caught]

    assert said() == []
    for changes, words in (({"unit": "mm"}, "people of 0.00"), ({"up": "-y"},
                                                                "(are `up` and `skeleton` right?)"),
                           ({"rate": 150}, "m/s at 150 frames a second")):
        (found,) = said(**changes)
        assert found.startswith(f"{file} looks wrong: ") and words in found
    said(unit="mm")
    capsys.readouterr()
    assert run("gallery", "identify", people, file, "--dataset", folder / "mine.yaml") == 0
    assert capsys.readouterr().err.count("looks wrong") == 1
