"""A gallery of people from Python, against plain versions, and its file."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write

import skeleton_reid
from skeleton_reid import Gallery, InputError
from skeleton_reid.data import DataWarning
from skeleton_reid.people import nearest_rows

pytestmark = pytest.mark.filterwarnings("ignore:a recording looks wrong")
FRAMES = np.random.RandomState(1).normal([0, 0, 3], size=(20, 20, 3))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Two encoders, by method."""
    folder = tmp_path_factory.mktemp("encoders")
    return {m: skeleton_reid.load(write(folder / f"{m}.pt", m), "cpu") for m in ("SimMC", "AGE")}


@pytest.fixture
def people(encoders):
    """A gallery of three persons, the first two with two recordings each, by random frames."""
    gallery, rng = Gallery(encoders["SimMC"]), np.random.RandomState(2)
    for name in ("anna", "ben", "anna", "ben", "carl"):
        gallery.add(name, rng.normal(size=(30, 20, 3)))
    return gallery


@pytest.mark.parametrize("windows", [
    np.zeros((3, 15)),
    np.zeros((0, 16)),
    np.zeros(16), None,
    np.full((3, 16), np.nan), [["a"] * 16]
])
def test_features_that_are_refused(people, windows):
    for use in (people.nearest, lambda windows: people.add_features("anna", windows)):
        with pytest.raises(InputError, match=r"expected .*found"):
            use(windows)
    assert people.features.shape == (5, 16)


def test_names_are_compared_in_one_form(people, tmp_path):
    people.add("Ju\u0308rgen ", FRAMES)
    assert people.names[-1] == "J\u00fcrgen"
    people.remove("Ju\u0308rgen")
    assert len(people.names) == len(people.features) == 5


def test_many_recordings_are_added_one_by_one(encoders):
    """Rows and names stay together while the room for them grows; the index of faiss, too."""
    gallery, rng = Gallery(encoders["SimMC"]), np.random.RandomState(3)
    rows = rng.normal(size=(70, 16)).astype(np.float32)
    for number, row in enumerate(rows):
        gallery.add_features(f"p{number}", row[None])
        for gallery.search in ("torch", "faiss"):
            assert gallery.nearest(rows[number // 2][None], 1)[0][:2] == (f"p{number // 2}", 0.0)
    np.testing.assert_array_equal(gallery.features, rows)
    gallery.search = "fais"
    with pytest.raises(InputError, match="search: expected torch or faiss, found 'fais'"):
        gallery.nearest(rows[:1])


def test_nearest_is_that_of_a_loop(people):
    windows = people.encoder.windows(FRAMES)
    mean = windows.mean(axis=0)
    distances = {}
    for name, feature in zip(people.names, people.features, strict=True):
        distance = float(np.linalg.norm(mean.astype(float) - feature))
        distances[name] = min(distance, distances.get(name, np.inf))
    order = sorted(distances, key=distances.get)
    found = people.nearest(windows)
    assert [match.name for match in found] == order
    assert [match.distance for match in found] == pytest.approx([distances[n] for n in order])
    own = {name: [] for name in order}
    for match in found:  # of each person, the nearest recording gets the votes
        rows = [f for n, f in zip(people.names, people.features, strict=True) if n == match.name]
        own[match.name] = min(rows, key=lambda row: np.linalg.norm(mean.astype(float) - row))
    votes = dict.fromkeys(order, 0)
    for window in windows:
        votes[min(order, key=lambda name: np.linalg.norm(window - own[name]))] += 1
    assert [match.votes for match in found] == [votes[name] / len(windows) for name in order]


@pytest.mark.parametrize("count", [1, 3, 50])
def test_search_is_the_same_without_faiss(count):
    pytest.importorskip("faiss")
    rng = np.random.RandomState(count)
    for rows in (rng.normal(size=(300, 9)), rng.randint(3, size=(300, 3)),
                 np.tile(rng.normal(size=(7, 9)), (40, 1)), rng.normal(size=(2, 4))):
        rows = rows.astype(np.float32)
        query = rows[0] if count == 3 else rows.mean(axis=0)
        found = nearest_rows(query, rows, count, "faiss")
        plain = nearest_rows(query, rows, count)
        distances = np.linalg.norm(rows.astype(float) - query, axis=1)
        expected = sorted(range(len(rows)), key=lambda n: (distances[n], n))[:count]
        for numbers, values in (found, plain):
            assert numbers.tolist() == expected
            np.testing.assert_allclose(values, distances[expected], rtol=1e-12)
        assert found[1].tolist() == plain[1].tolist()


def test_of_equals_the_first_enrolled_is_named(encoders):
    """And the votes do not look as if one of them were surer."""
    gallery = Gallery(encoders["SimMC"])
    gallery.add("zoe", FRAMES)
    with pytest.warns(DataWarning, match="enrolled as zoe's: now it is adam's, too"):
        gallery.add("adam", FRAMES)
    for name in ("zoe", "adam"):
        with pytest.warns(DataWarning, match="is enrolled as zoe's: it is not enrolled again"):
            gallery.add(name, FRAMES)
    assert gallery.names == ["zoe", "adam"]
    assert gallery.identify(FRAMES) == [("zoe", 0.0, 0.5, ""), ("adam", 0.0, 0.5, "")]
    gallery.add_features("eva", gallery.features[:1] * np.float32(1 + 2e-7))  # but for rounding
    gallery.add("ben", FRAMES + np.random.RandomState(1).normal(size=FRAMES.shape))
    matches = {match.name: match for match in gallery.identify(FRAMES)}
    assert 0 < matches["eva"].distance < 1e-5
    assert matches["zoe"].votes == matches["adam"].votes == matches["eva"].votes > 0
    assert sum(match.votes for match in matches.values()) == pytest.approx(1)


def test_nobody(people):
    nearest, *_ = people.identify(FRAMES)
    people.threshold = nearest.distance
    assert people.identify(FRAMES)[0] == nearest
    people.threshold = np.nextafter(nearest.distance, 0)
    assert people.identify(FRAMES) == []
    people.threshold = np.inf
    for name in set(people.names):
        people.remove(name)
    with pytest.raises(InputError, match="nobody is enrolled"):
        people.identify(FRAMES)


def test_remove(people):
    kept = people.features[[1, 3, 4]]
    people.remove("anna")
    assert people.names == ["ben", "ben", "carl"]
    np.testing.assert_array_equal(people.features, kept)
    with pytest.raises(InputError, match="found 'bne'"):
        people.remove("bne")
    for name in ("", " ", "a\nb", 7):
        with pytest.raises(InputError, match="expected a name"):
            people.add(name, FRAMES)


def test_files(people, tmp_path):
    path, people.threshold = tmp_path / "new" / "people.gallery", 0.25
    people.add("日本 'x'", FRAMES)
    people.save(str(path))
    again = Gallery.load(path)
    assert (again.names, again.threshold) == (people.names, 0.25)
    np.testing.assert_array_equal(again.features, people.features)
    assert again.nearest(people.encoder.windows(FRAMES))[0][:2] == ("日本 'x'", 0.0)
    empty = Gallery(people.encoder)
    empty.save(path)
    assert Gallery.load(path).names == []


def test_damaged_files(people, tmp_path):
    path = tmp_path / "people.gallery"
    people.save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1:])
        try:
            found = Gallery.load(path, people.encoder)
        except InputError as error:
            assert "\n" not in str(error)
        else:  # a byte that nobody reads, such as a date
            assert found.names == people.names
            np.testing.assert_array_equal(found.features, people.features)
    for content in (b"", whole[:-30], b"no archive", whole[:len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable gallery"):
            Gallery.load(path)
    np.savez(path.with_suffix(".npz"), header=np.array("{}"), features=people.features)
    with pytest.raises(InputError, match="expected a gallery"):
        Gallery.load(path.with_suffix(".npz"))
    with pytest.raises(InputError, match="no gallery at"):
        Gallery.load(tmp_path / "none")


def test_a_gallery_wants_its_own_encoder(people, encoders, tmp_path):
    path, checkpoint_path = tmp_path / "people.gallery", tmp_path / "SimMC.pt"
    encoder = skeleton_reid.load(write(checkpoint_path, "SimMC"))
    gallery = Gallery(encoder)
    gallery.add("anna", FRAMES)
    gallery.save(path)
    with pytest.raises(InputError, match="other weights"):
        Gallery.load(path, encoders["AGE"])
    checkpoint_path.rename(tmp_path / "moved.pt")
    with pytest.raises(InputError, match="no checkpoint at"):
        Gallery.load(path)
    moved = Gallery.load(path, skeleton_reid.load(tmp_path / "moved.pt"))
    assert moved.identify(FRAMES)[0][:2] == ("anna", 0.0)


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def add_and_die(path: Path, gallery: Gallery, module, name: str, after: bool) -> None:
    """Enrol a recording and die when a function is called, or when it has done its work."""
    original = getattr(module, name)
    setattr(module, name, (lambda *a, **k: kill(original(*a, **k))) if after else kill)
    gallery.add("dora", FRAMES)
    gallery.save(path)


@pytest.mark.parametrize(("module", "name"), [(np, "savez"), (os, "fsync"), (Path, "replace")])
@pytest.mark.parametrize("after", [False, True])
def test_killed_while_adding(people, tmp_path, module, name, after):
    path = tmp_path / "people.gallery"
    people.save(path)
    old = path.read_bytes()
    words = path, people, module, name, after
    process = multiprocessing.get_context("fork").Process(target=add_and_die, args=words)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    names = Gallery.load(path, people.encoder).names
    if (name, after) == ("replace", True):
        assert names == [*people.names, "dora"]
    else:
        assert path.read_bytes() == old
