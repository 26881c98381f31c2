"""What must hold for any input, one property for each core, on inputs that hypothesis draws: always
the same ones.
"""

import json
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml
from checkpoints import write
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from recorders import ntu, openpose, put, read, trc, walk
from sklearn.cluster import DBSCAN
from sklearn.metrics import average_precision_score
from training import METHODS, Training, without_time

import skeleton_reid
from skeleton_reid import data
from skeleton_reid.common.errors import InputError
from skeleton_reid.data import files
from skeleton_reid.data.prepare import cut_windows
from skeleton_reid.data.skeleton import read as read_skeleton
from skeleton_reid.engine import checkpoint
from skeleton_reid.pictures.runs import SavedRun
from skeleton_reid.reid import ranking
from skeleton_reid.reid.jaccard import cluster, jaccard_distance
from tests.reference import jaccard as reference


def examples(count: int):
    return settings(max_examples=count, derandomize=True, deadline=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture])


SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 25)


@examples(60)
@given(SEEDS, SIZES, SIZES, st.integers(1, 6), st.integers(1, 9), st.booleans())
def test_mean_average_precision_is_that_of_scikit_learn(seed, probes, size, persons, levels, alone):
    """With ties: few distances are possible. alone: probes and gallery are one set."""
    rng = np.random.RandomState(seed)
    gallery, ids = rng.randint(levels, size=(size, 2)), rng.randint(persons, size=size)
    probe, own = rng.randint(levels, size=(probes, 2)), rng.randint(persons, size=probes)
    if alone:
        probe, own = gallery, ids
    precisions, first = [], []
    for number, (x, person) in enumerate(zip(probe, own, strict=True)):
        kept = np.arange(size) != number if alone else np.ones(size, bool)
        distances, match = ((gallery - x)**2).sum(axis=1)[kept], ids[kept] == person
        if match.any():
            precisions.append(average_precision_score(match, -distances))
        ranked = match[distances.argsort(kind="stable")]
        first.append(ranked.argmax() + 1 if match.any() else np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody has a match
        found = ranking.evaluate(probe, own, gallery, ids, exclude_self=alone)
    assert found["mAP"] == pytest.approx(np.mean(precisions or [np.nan]), abs=1e-12, nan_ok=True)
    for k in (1, 5, 10):
        assert found[f"top{k}"] == pytest.approx(np.mean(np.array(first) <= k))


@examples(15)
@given(SEEDS, st.integers(8, 60), st.integers(1, 8), st.floats(0.01, 1.5), st.booleans(),
       st.sampled_from([(20, 6), (7, 1), (4, 3)]), st.floats(0.2, 0.9), st.integers(1, 5))
def test_jaccard_and_clusters_are_those_of_dense_matrices(seed, size, persons, spread, copies, k,
                                                          eps, least):
    rng, (k1, k2) = np.random.RandomState(seed), k
    x = rng.normal(size=(persons, 6))[rng.randint(persons, size=size)]
    x = (x + spread * rng.normal(size=x.shape)).astype(np.float32)
    if copies:  # no more than neighbours are looked at
        x[::max(3, size // k1 + 1)] = x[0]
    rank = reference.nearest_neighbours(x, min(k1, size))
    expected = reference.jaccard_distance(x, rank, k2)
    pairs = jaccard_distance(x, k1, k2, rank=torch.from_numpy(rank)).tocoo()
    found = np.ones_like(expected)
    found[pairs.row, pairs.col] = pairs.data
    np.testing.assert_allclose(found, expected, atol=5e-6)
    assume((abs(expected - eps) > 1e-5).all())
    dense = DBSCAN(eps=eps, min_samples=least, metric="precomputed").fit_predict(expected)
    labels = cluster(x, eps, least, k1, k2, rank=torch.from_numpy(rank))
    np.testing.assert_array_equal(labels, dense)


@examples(60)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), SIZES, SIZES, st.integers(1, 4))
def test_windows_are_those_of_loops(lengths, f, stride, passes):
    ends = np.cumsum([0, *lengths])
    frames = np.arange(ends[-1] * 2 * 3.0).reshape(-1, 2, 3)
    recordings = [frames[a:b] for a, b in pairwise(ends)]
    expected = []
    for shift in range(passes):
        for number, recording in enumerate(recordings):
            first = shift
            while first + f <= len(recording):
                expected.append((number, recording[first:first + f]))
                first += stride
    found = cut_windows(recordings, [10 + n for n in range(len(lengths))], f, stride, passes)
    assert len(found) == len(expected)
    for n, (number, window) in enumerate(expected):
        np.testing.assert_array_equal(found.skeletons[n], window)
        assert (found.labels[n], found.recordings[n]) == (10 + number, number)


@pytest.mark.parametrize("method", ["SimMC", "statistics", "AGE"])
def test_a_run_resumed_anywhere_is_the_whole_run(method, once, tmp_path_factory, write_dataset):
    """Also where it is interrupted several times, or learns no further epoch in between."""
    assert method in METHODS
    before, whole = once(method, "--epochs", 4)

    @examples(2)
    @given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def resume(epochs):
        train = Training(method, tmp_path_factory.mktemp("resume"), write_dataset)
        for number, count in enumerate([*sorted(epochs), 4]):
            result = train("--epochs", count, *(("--resume",) if number else ()))
        assert without_time(result) == without_time(whole)
        phase = "encoder" if method == "AGE" else ""
        assert train.history(phase) == before.history(phase)

    resume()


# A file is cut at a place (a share of its length), or a bit is flipped there.
DAMAGE = st.tuples(st.sampled_from(["cut", *(1 << bit for bit in range(8))]),
                   st.floats(0, 1, exclude_max=True))


def damaged(content: bytes, damage: tuple) -> bytes:
    kind, share = damage
    place = int(share * len(content))
    if kind == "cut":
        return content[:place]
    return content[:place] + bytes([content[place] ^ kind]) + content[place + 1:]


def refused_or(read, path, content, damage) -> object:
    """What `read` returns of a damaged file, or None if it is refused in one line."""
    path.write_bytes(damaged(content, damage))
    try:
        return read()
    except InputError as error:
        assert str(error).count("\n") == 0 and path.name in str(error)
        return None
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write(tmp_path_factory.mktemp("damage") / "best.pt", "SimMC")


def test_damaged_checkpoints(model):
    content, whole = model.read_bytes(), checkpoint.load(model)

    @examples(40)
    @given(DAMAGE)
    def check(damage):
        found = refused_or(lambda: checkpoint.load(model), model, content, damage)
        if found is not None:
            assert {**found, "model": 0} == {**whole, "model": 0}
            assert all(torch.equal(found["model"][name], x) for name, x in whole["model"].items())

    check()


def test_damaged_galleries(model, tmp_path):
    gallery = skeleton_reid.Gallery(skeleton_reid.load(model, "cpu"))
    for name, seed in (("anna", 0), ("bert", 1), ("anna", 2)):
        gallery.add(name, walk(20, seed))
    gallery.save(path := tmp_path / "people.gallery")
    content = path.read_bytes()

    @examples(40)
    @given(DAMAGE)
    def check(damage):
        found = refused_or(lambda: skeleton_reid.Gallery.load(path, gallery.encoder), path, content,
                           damage)
        if found is not None:
            assert (found.names, found.threshold) == (gallery.names, gallery.threshold)
            np.testing.assert_array_equal(found.features, gallery.features)

    check()


def test_damaged_windows(tmp_path, write_dataset):
    part = write_dataset(tmp_path, "KS20", 6, 2, 2, np.random.RandomState(0))["probe"]
    sums = {file.name: files.checksum(file) for file in part.folder.iterdir()}
    put(part.folder / files.SUMS_FILE, json.dumps(sums))
    paths, skeleton = sorted(part.folder.iterdir()), data.skeleton.get(25)
    whole = files.read_split(part, skeleton)

    @examples(40)
    @given(st.sampled_from(range(len(paths))), DAMAGE)
    def check(number, damage):
        content = paths[number].read_bytes()
        paths[number].write_bytes(damaged(content, damage))
        try:
            found = files.read_split(part, skeleton)
            np.testing.assert_array_equal(found.skeletons, whole.skeletons)
            np.testing.assert_array_equal(found.labels, whole.labels)
        except InputError as error:
            assert "\n" not in str(error) and str(part.folder) in str(error)
        finally:
            paths[number].write_bytes(content)

    check()


def test_damaged_histories(tmp_path):
    path, content = tmp_path / "history.csv", b"epoch,top1,MPC\n0,0.5,2.25\n1,0.625,1.5\n2,0.75,\n"

    @examples(60)
    @given(DAMAGE)
    def check(damage):
        found = refused_or(lambda: SavedRun(tmp_path, tmp_path).histories, path, content, damage)
        assert found is None or all(len(table) <= 4 for table in found.values())

    check()


WALK = walk(25)
RECORDINGS = {  # what a recorder writes into one file: format, ending, content
    "openpose": ("openpose", ".json", json.dumps([openpose(pose) for pose in WALK])),
    "ntu": ("ntu", ".skeleton", ntu(*([("72057", pose)] for pose in WALK))),
    "trc": ("trc", ".trc", trc(WALK, read_skeleton("kinect_v2").joints)),
}


@pytest.mark.parametrize("kind", RECORDINGS)
def test_damaged_recordings(kind, tmp_path):
    """Some letters are others, or missing: a recording of the same joints, or one line that names
    the file.
    """
    form, ending, content = RECORDINGS[kind]
    skeleton = "openpose_body25" if kind == "openpose" else "kinect_v2"
    about = {"skeleton": skeleton, "format": form, "unit": "m", "up": "y"}
    about |= {"recordings": "{person}/{recording}" + ending}
    put(tmp_path / "own.yaml", yaml.safe_dump(about))
    put(path := tmp_path / "anna" / f"walk{ending}", content)
    assert len(read(tmp_path / "own.yaml")) == 1
    letters = st.sampled_from(["", "0", "-", "9e9", ",", ".", "\t", "\n", "x", "NaN", '"', "]"])

    @examples(25)
    @given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), letters), min_size=1, max_size=3))
    def check(changes):
        text = content
        for share, letter in changes:
            place = int(share * len(text))
            text = text[:place] + letter + text[place + 1:]
        put(path, text)
        try:
            (recording,) = read(tmp_path / "own.yaml")
            assert recording.frames.ndim == 3 and recording.frames.shape[1:] == (25, 3)
            assert not np.isinf(recording.frames).any()
        except InputError as error:
            assert "\n" not in str(error) and "anna" in str(error)

    check()
