"""gallery.py as a user runs it, and error rates against plain counts."""

import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkpoints import write
from commands import error_of, run

import skeleton_reid
from skeleton_reid import Gallery, data
from skeleton_reid.common.files import hold
from skeleton_reid.open_set import error_rates

PERSONS, RECORDINGS = 6, 3


@pytest.fixture
def folder(tmp_path):
    """A folder with encoder.pt and recordings <person>/<number>.npy of six random persons."""
    write(tmp_path / "encoder.pt", "SimMC")
    rng = np.random.RandomState(0)
    for person in range(PERSONS):
        pose = rng.normal(scale=0.3, size=(20, 3))
        pose[[3, 15, 19], 1] = 0.8, -0.8, -0.8  # head and feet
        (tmp_path / f"p{person}").mkdir()
        for number in range(RECORDINGS):
            frames = pose + rng.normal(scale=0.15, size=(25, 20, 3))
            np.save(tmp_path / f"p{person}" / f"{number}.npy", frames)
    return tmp_path


@pytest.fixture
def people(folder):
    """The file of a gallery with the first recording of the first four persons."""
    path = folder / "people.gallery"
    files = [folder / f"p{person}" / "0.npy" for person in range(4)]
    assert run("gallery", "add", path, *files, "--checkpoint", folder / "encoder.pt") == 0
    return path


def recordings(folder, persons, numbers):
    return [folder / f"p{person}" / f"{number}.npy" for person in persons for number in numbers]


def test_add_list_remove(folder, people, capsys):
    assert run("gallery", "add", people, folder / "p5" / "0.npy", folder / "p5" / "1.npy") == 0
    assert run("gallery", "add", people, "--name", "Eva Ö", folder / "p4" / "0.npy") == 0
    assert run("gallery", "remove", people, "--name", "p1") == 0
    capsys.readouterr()
    assert run("gallery", "list", people) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    first, *lines = printed.replace("\n  ", " ").splitlines()
    assert "5 persons, 6 recordings, threshold inf (everybody is named), SimMC on IAS" in first
    own = "p0  1  0.npy", "p2  1  0.npy", "p3  1  0.npy", "p5  2  0.npy  1.npy", "Eva Ö  1  0.npy"
    assert lines == [*own]
    assert not list(folder.glob(".*")), "a lock is left"


def test_answers_are_those_of_python(folder, people, capsys):
    files = recordings(folder, range(PERSONS), [1])
    capsys.readouterr()
    assert run("gallery", "identify", people, *files) == 0
    gallery = Gallery.load(people)
    lines = capsys.readouterr().out.replace("\n  ", "  ").splitlines()
    for file, line in zip(files, lines, strict=True):
        matches = gallery.identify(np.load(file))
        near = (f"{match.name} {match.distance:.3f} ({match.votes:.0%}, 0.npy)"
                for match in matches)
        assert line == f"{file}: {matches[0].name}; nearest  {'  '.join(near)}"
    assert [line.split(": ")[1][:3] for line in lines[:4]] == ["p0;", "p1;", "p2;", "p3;"]
    gallery.threshold = 0.0
    gallery.save(people)
    assert run("gallery", "identify", people, files[0]) == 0
    assert f"{files[0]}: nobody; nearest" in capsys.readouterr().out


def test_calibrate(folder, people, capsys):
    files = recordings(folder, range(PERSONS), range(RECORDINGS))  # 4 of them are enrolled
    picture = folder / "rates.png"
    words = "--far", 0.2, "--picture", picture
    assert run("gallery", "calibrate", people, *files, *words) == 0
    printed = capsys.readouterr().out
    assert "8 genuine, 14 impostor distances" in printed
    encoder, gallery = skeleton_reid.load(folder / "encoder.pt"), Gallery.load(people)
    genuine, impostor = [], []
    for person in range(PERSONS):
        for number in range(RECORDINGS):
            frames = np.load(folder / f"p{person}" / f"{number}.npy")
            if person < 4 and number == 0:
                continue
            distances = np.linalg.norm(gallery.features.astype(float) - encoder(frames), axis=1)
            genuine += [distances[person]] if person < 4 else []
            impostor.append(np.delete(distances, person if person < 4 else []).min())
    threshold = gallery.threshold
    reached = np.mean(np.array(impostor) <= threshold + 1e-9)
    larger = min(x for x in genuine + impostor if x > threshold + 1e-9)
    assert reached <= 0.2 < np.mean(np.array(impostor) <= larger + 1e-9)
    refused = np.mean(np.array(genuine) > threshold + 1e-9)
    row = f"{100 * reached:7.1f} {100 * refused:7.1f} {threshold:10.4f}  kept"
    assert row in printed.splitlines()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert gallery.identify(np.load(folder / "p0" / "1.npy"))[0].name == "p0"
    assert gallery.identify(np.load(folder / "p4" / "0.npy") * 3) == []


@pytest.mark.parametrize("seed", range(5))
def test_error_rates_are_counts(seed):
    rng = np.random.RandomState(seed)
    genuine, impostor = rng.randint(6, size=9) / 2, rng.randint(3, 9, size=14) / 2
    rates = error_rates(genuine.tolist(), impostor.tolist())
    assert (np.diff(rates["threshold"]) > 0).all()
    assert set(rates["threshold"]) == {*genuine, *impostor}
    expected = [(impostor <= t).mean() for t in rates["threshold"]]
    np.testing.assert_allclose(rates["FAR"], expected)
    expected = [(genuine > t).mean() for t in rates["threshold"]]
    np.testing.assert_allclose(rates["FRR"], expected)


def test_a_data_set(folder, write_dataset, capsys):
    rng = np.random.RandomState(1)
    parts = write_dataset(folder / "data", "IAS", 6, persons=5, windows=6, rng=rng, noise=0.5)
    for part in parts.values():
        np.save(part.recording_id, np.repeat(np.arange(10), 3))  # two of each person
    where = "--dataset", "IAS", "--data", folder / "data"
    path, checkpoint = folder / "ias.gallery", ("--checkpoint", folder / "encoder.pt")
    words = "--persons", 3, "--recordings", 1
    assert run("gallery", "add", path, *where, *checkpoint, *words) == 0
    gallery = Gallery.load(path)
    assert gallery.names == ["0", "1", "2"]
    windows = data.load("IAS", "A", 6, folder / "data", train=False).gallery.skeletons
    expected = [gallery.encoder.encode(windows[6 * n:6 * n + 3]).mean(axis=0) for n in range(3)]
    np.testing.assert_allclose(gallery.features, expected, atol=1e-6)
    assert run("gallery", "calibrate", path, *where, "--persons", 3, "--far", 0) == 0
    assert "3 genuine, 3 impostor distances" in capsys.readouterr().out
    assert run("gallery", "identify", path, *where) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    *lines, enrolled, other = printed.replace("\n  ", " ").splitlines()
    assert len(lines) == 10
    answers = [line.split(": ")[1].split(";")[0] for line in lines]
    persons = [str(number // 2) for number in range(10)]
    own = [(a, p) for a, p in zip(answers, persons, strict=True) if p in gallery.names]
    right, refused = np.mean([a == p for a, p in own]), np.mean([a == "nobody" for a, _ in own])
    assert f"enrolled persons, 6 recordings: identified {right:.1%}" in enrolled
    assert f"rejected {refused:.1%}" in enrolled
    accepted = np.mean([answer != "nobody" for answer in answers[6:]])
    assert f"other persons, 4 recordings: identified 0.0%, misnamed {accepted:.1%}" in other
    parts["A"].recording_id.unlink()
    assert "recording_id" in error_of(capsys, "gallery", "identify", path, *where)


@pytest.mark.parametrize(
    ("words", "message"),
    [("add people.gallery p4/0.npy bad.npy", "bad.npy: expected a recording"),
     ("add people.gallery text.npy", "text.npy: expected a recording"),
     ("add people.gallery objects.npy", "objects.npy: expected a recording"),
     ("add people.gallery none.npy", "none.npy"),
     ("add people.gallery", "expected recordings: files"),
     ("identify people.gallery bad.npy --dataset IAS", "expected recordings: files"),
     ("remove people.gallery", "expected the name"),
     ("remove people.gallery --name p9", "found 'p9'"),
     ("add people.gallery p4/0.npy --name=", "expected letters that can be seen, found ''"),
     ("calibrate people.gallery p0/0.npy", "found 0 genuine and 0 impostor"),
     ("calibrate people.gallery p0/1.npy --picture p0", "expected a file"),
     ("add new.gallery p0/0.npy", "no gallery at new.gallery"),
     ("add . p0/0.npy", "no gallery at .; gallery.py add"),
     ("list people.gallery p0/0.npy", "list takes no files, found p0/0.npy"),
     ("remove people.gallery p0/0.npy --name p0", "remove takes no files"),
     ("calibrate people.gallery p0/1.npy --picture /dev/null", "expected a file in a folder"),
     ("identify encoder.pt p0/0.npy", "expected a gallery"),
     ("identify text.npy p0/0.npy", "not a readable gallery")])
def test_wrong_use_changes_nothing(folder, people, capsys, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    before = people.read_bytes()
    np.save("bad.npy", np.zeros((25, 19, 3)))
    np.save("objects.npy", np.array([{}], dtype=object))
    (folder / "text.npy").write_text("anna")
    assert message in error_of(capsys, "gallery", *words.split())
    assert people.read_bytes() == before


EDITS = {
    "names": (["a"], ["a"] * 5, "anna", None, ["a", "b", "c", 3], ["a", "b", "c", " "], []),
    "threshold": ("far", None, float("nan"), -1), "digest": (None, 3, "another"),
    "format": (None, "x"),
    "encoder": ({}, None, {"path": 3}, {"path": "nowhere.pt"}, {"path": "p", "lenght": 6}, ["path"])
}


@pytest.mark.parametrize(("key", "value"), [(key, x) for key, own in EDITS.items() for x in own])
def test_an_edited_header(folder, people, capsys, key, value):
    with np.load(people) as file:
        header, features = json.loads(str(file["header"])), file["features"]
    for edited in (header | {key: value}, {n: x for n, x in header.items() if n != key}):
        np.savez(people.open("wb"), header=json.dumps(edited), features=features)
        for words in (("identify", people, folder / "p0" / "0.npy"), ("list", people)):
            assert re.search("expected|no checkpoint|other weights",
                             error_of(capsys, "gallery", *words))


@pytest.mark.parametrize("change", [
    lambda x: x[:3], lambda x: np.concatenate([x, x]), lambda x: x[:, :7], lambda x: x[0],
    lambda x: x * np.nan, lambda x: x.astype(int), lambda x: x.astype(str), lambda x: x[:0],
    lambda x: np.float32(3)
])
def test_edited_features(folder, people, capsys, change):
    with np.load(people) as file:
        header, features = file["header"], file["features"]
    np.savez(people.open("wb"), header=header, features=change(features))
    for words in (("identify", people, folder / "p0" / "0.npy"), ("list", people)):
        said = error_of(capsys, "gallery", *words)
        assert f"{people}: expected " in said or "found other weights" in said


@pytest.mark.parametrize(
    "arrays", [{"header": np.array(["{}", "{}"])}, {"header": np.array("{")},
               {"header": np.array(3)}, {}, {"features": np.zeros(
                   (4, 16), np.float32)}, {"header": np.array("[]"), "features": np.zeros(3)}])
def test_another_archive(people, capsys, arrays):
    np.savez(people.open("wb"), **arrays)
    assert "expected a gallery" in error_of(capsys, "gallery", "list", people)


def test_a_renamed_person(folder, people, capsys):
    """What a user may edit."""
    with np.load(people) as file:
        header, features = json.loads(str(file["header"])), file["features"]
    header["names"][0] = "anna"
    np.savez(people.open("wb"), header=json.dumps(header), features=features)
    assert run("gallery", "identify", people, folder / "p0" / "0.npy") == 0
    assert "0.npy: anna; nearest" in capsys.readouterr().out


def test_a_recording_twice(folder, people, capsys):
    capsys.readouterr()
    words = "gallery", "add", people, folder / "p0" / "0.npy"
    assert run(*words) == 0
    captured = capsys.readouterr()
    assert captured.err == "warning: 0.npy is enrolled as p0's: it is not enrolled again\n"
    assert "4 persons, 4 recordings" in captured.out
    assert run(*words, "--name", "bert") == 0
    assert "is enrolled as p0's: now it is bert's, too" in capsys.readouterr().err


DESCRIPTION = {"skeleton": "kinect_v1", "format": "npy", "unit": "m", "up": "y"}


@pytest.fixture
def described(folder):
    """described(**changes): the description of the recordings, flat/<person>-<number>.npy."""
    (folder / "flat").mkdir()
    for person in range(4):
        for number in range(RECORDINGS):
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


def test_a_gallery_without_names_of_recordings(folder, people, capsys):
    """As older ones are."""
    with np.load(people) as file:
        header, features = json.loads(str(file["header"])), file["features"]
    assert header.pop("recordings") == ["0.npy"] * 4
    np.savez(people.open("wb"), header=json.dumps(header), features=features)
    match, *_ = Gallery.load(people).identify(np.load(folder / "p0" / "0.npy"))
    assert repr(match) == "p0 0.000 (100%)"
    np.savez(people.open("wb"), header=json.dumps(header | {"recordings": ["a"]}),
             features=features)
    assert "expected a gallery" in error_of(capsys, "gallery", "list", people)


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
    assert f"no frame has all joints ({len(walk)} dropped" in said
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


def test_millimetres_for_metres(folder, people, capsys):
    np.save(folder / "mm.npy", 1000 * np.load(folder / "p0" / "0.npy"))
    capsys.readouterr()
    assert run("gallery", "identify", people, folder / "mm.npy") == 0
    error = capsys.readouterr().err
    assert "mm.npy looks wrong: people of 1," in error and "everybody is named: calibrate" in error


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


def test_one_process_at_a_time(folder, people, capsys):
    lock = hold(people.with_name(".people.gallery.lock"))
    error = error_of(capsys, "gallery", "add", people, folder / "p4" / "0.npy")
    assert "another process is at work" in error
    assert run("gallery", "list", people) == 0
    lock.release()
    assert run("gallery", "add", people, folder / "p4" / "0.npy") == 0


def test_a_link_to_a_gallery_stays_one(folder, people):
    (folder / "link").symlink_to(people)
    assert run("gallery", "remove", folder / "link", "--name", "p0") == 0
    assert (folder / "link").is_symlink() and Gallery.load(people).names == ["p1", "p2", "p3"]


def test_an_encoder_that_has_moved(folder, people, capsys):
    (folder / "encoder.pt").rename(folder / "moved.pt")
    assert "no checkpoint at" in error_of(capsys, "gallery", "list", people)
    words = people, folder / "p4" / "0.npy", "--checkpoint", folder / "moved.pt"
    assert run("gallery", "add", *words) == 0
    assert run("gallery", "list", people) == 0
    assert json.loads(str(np.load(people)["header"]))["names"][-1] == "p4"
