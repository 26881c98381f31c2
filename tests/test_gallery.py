"""gallery.py as a user runs it, and error rates against plain counts."""

import json
import re
import sys

import numpy as np
import pytest
from commands import error_of, run

import skeleton_reid
from skeleton_reid import Gallery, data
from skeleton_reid.common.files import hold
from skeleton_reid.people import error_rates

PERSONS, RECORDINGS = 6, 3


def recordings(folder, persons, numbers):
    return [folder / f"p{person}" / f"{number}.npy" for person in persons for number in numbers]


def test_add_list_remove(folder, people, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # only the picture needs it
    monkeypatch.delitem(sys.modules, "gallery")
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
    picture = folder / "rates.jpg"
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
    assert picture.read_bytes().startswith(b"\xff\xd8")
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


@pytest.mark.parametrize(("words", "message"), [
    ("add people.gallery p4/0.npy bad.npy", "bad.npy: expected a recording"),
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
    ("calibrate people.gallery p0/1.npy --picture a.txt", "expected .png, .jpg, .pdf, .svg, found"),
    ("add new.gallery p0/0.npy", "no gallery at new.gallery"),
    ("add . p0/0.npy", "no gallery at .; gallery.py add"), ("list", "required: gallery ("),
    ("list people.gallery p0/0.npy", "list takes no files, found p0/0.npy"),
    ("remove people.gallery p0/0.npy --name p0", "remove takes no files"),
    ("calibrate people.gallery p0/1.npy --picture /dev/null", "expected a file in a folder"),
    ("identify encoder.pt p0/0.npy", "expected a gallery"),
    ("identify text.npy p0/0.npy", "not a readable gallery")
])
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
    assert "4 persons, 4 recordings" in " ".join(captured.out.split())  # a long path wraps
    assert run(*words, "--name", "bert") == 0
    assert "is enrolled as p0's: now it is bert's, too" in capsys.readouterr().err


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


def test_millimetres_for_metres(folder, people, capsys):
    np.save(folder / "mm.npy", 1000 * np.load(folder / "p0" / "0.npy"))
    capsys.readouterr()
    assert run("gallery", "identify", people, folder / "mm.npy") == 0
    error = capsys.readouterr().err
    assert "mm.npy looks wrong: people of 1," in error and "everybody is named: calibrate" in error


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
