"""CASIA_B from simulated videos to metrics: both protocols, every pair of conditions, all three
systems.
"""

from pathlib import Path

import numpy as np
import pytest
from commands import error_of, results_of, run
from sklearn.metrics import average_precision_score

from skeleton_reid import data
from skeleton_reid.data.simulate import simulate
from skeleton_reid.engine import features

PAIRS = ("nm.nm", "cl.cl", "bg.bg", "cl.nm", "bg.nm")
FIGURES = ("top1", "top5", "top10", "mAP")
SMALL = ("--epochs", 1, "--batch_size", 32, "--quiet")
AGE, SMSGE, SIMMC = (("--hidden", 4, *SMALL), ("--D_h", 4, "--P", 1, *SMALL),
                     ("--H", 16, "--mask_x", 2, *SMALL))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Both protocols at f = 6, of 4 persons in 11 views and 3 conditions; written once."""
    folder = tmp_path_factory.mktemp("casia_b")
    simulate("CASIA_B", folder / "raw", persons=4, frames=14, recordings=1)
    where = ("--raw", folder / "raw", "--out", folder / "Datasets")
    assert run("preprocess", 6, "--dataset", "CASIA_B", *where) == 0
    return folder / "Datasets"


@pytest.fixture
def call(root, tmp_path):
    """call(script, *arguments): run it on the data and return its results."""
    where = ("--dataset", "CASIA_B", "--length", 6, "--data", root, "--out", tmp_path / "out")
    return lambda script, *arguments: results_of(script, *where, *arguments)


def test_splits(root):
    """Persons 1 and 2 train, 3 and 4 are tested in matching; in cross-view all are in both, but no
    view is.
    """
    for pair in PAIRS:
        sets = data.load("CASIA_B", pair, 6, root, batch_size=32)
        assert sets.same_set == (pair[:2] == pair[3:])
        assert set(sets.train.labels) == {1, 2}
        assert set(sets.probe.labels) == set(sets.gallery.labels) == {3, 4}
    for view in range(11):
        sets = data.load_recognition("CASIA_B", length=6, root=root, view=view, balance=False)
        assert sets.persons.tolist() == [1, 2, 3, 4]
        assert len(sets.train) > 10 * len(sets.tests["test"])


@pytest.mark.parametrize("pair", PAIRS)
def test_simmc_on_every_pair(call, root, tmp_path, pair):
    result = call("train_simmc", "--probe_type", pair, *SIMMC, "--save_features",
                  tmp_path / "f.npz")
    best, path = result["best"], tmp_path / "out" / "CASIA_B" / f"{pair}_best.pt"
    assert (result["probe"], result["settings"]["mask_lambda"],
            result["settings"]["t"]) == (pair, 0.25, 0.075)
    found = call("evaluate", "--checkpoint", path, "--quiet")
    assert {name: found[name] for name in best} == best
    probe, gallery = (features.read(tmp_path / f"f.{part}.npz") for part in ("probe", "gallery"))
    same = pair[:2] == pair[3:]
    expect(best, full_metrics(probe, gallery, same))
    released = call("evaluate", "--checkpoint", path, "--protocol", "released", "--batch_size", 1,
                    "--quiet")
    expect(released, released_metrics(probe, gallery) if same else best)
    if same:
        assert released["mAP"] > best["mAP"]  # the self match counts


def ranked(probe, gallery):
    """For each probe the distances, the matches, and the gallery from near to far."""
    for i, (feature,
            label) in enumerate(zip(probe.features.astype(float), probe.labels, strict=True)):
        d = np.sqrt(((gallery.features - feature)**2).sum(axis=1))
        yield i, d, gallery.labels == label, np.argsort(d, kind="stable")


def full_metrics(probe, gallery, same):
    """Every probe, without itself where probe and gallery are one set."""
    hits, precisions = [], []
    for i, d, matches, order in ranked(probe, gallery):
        kept = np.arange(len(d)) != i if same else np.ones(len(d), dtype=bool)
        hits.append([matches[order[kept[order]][:k]].any() for k in (1, 5, 10)])
        precisions.append(average_precision_score(matches[kept], -d[kept]))
    return dict(zip(FIGURES, [*np.mean(hits, axis=0), np.mean(precisions)], strict=True))


def released_metrics(probe, gallery):
    """self-match: top-k without whatever ranks first; mAP with the self match, from the second
    probe on.
    """
    hits, precisions = [], []
    for _, d, matches, order in ranked(probe, gallery):
        hits.append([matches[order[1:k + 1]].any() for k in (1, 5, 10)])
        precisions.append(average_precision_score(matches, -d))
    return dict(zip(FIGURES, [*np.mean(hits, axis=0), np.mean(precisions[1:])], strict=True))


def expect(found, expected):
    for name in FIGURES:
        assert found[name] == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize(("script", "small", "name", "pair"),
                         [("train_age", AGE, "AGE", "nm.nm"),
                          ("train_smsge", SMSGE, "SM-SGE", "bg.nm")])
def test_matching_by_the_two_phase_systems(call, script, small, name, pair):
    """Retrieval, and SimMC on the features of the encoder."""
    result = call(script, "--task", "retrieval", "--probe", pair, *small)
    assert (result["kind"], result["method"], result["probe"]) == ("retrieval", name, pair)
    on_top = call("train_simmc", "--probe", pair, "--source", name, *SIMMC)
    assert (on_top["method"], on_top["probe"]) == (f"{name} + SimMC", pair)
    assert all(on_top["baselines"][name][key] == result[key] for key in FIGURES)


@pytest.mark.parametrize(("script", "small", "view"), [("train_age", AGE, 0),
                                                       ("train_age", AGE, 10),
                                                       ("train_smsge", SMSGE, 7)])
def test_cross_view(call, root, script, small, view):
    result = call(script, "--view", view, *small)
    tested = data.load_recognition("CASIA_B", length=6, root=root, view=view).tests["test"]
    assert np.sum(result["confusion"]) == len(tested)
    assert len(result["rank"]) == 4
    evaluated = call(script, "--view", view, *small, "--mode", "Eval")
    assert evaluated["rank1"] == result["best"]["rank1"]


def test_lengths_of_the_papers(tmp_path, capsys):
    """Matching 40, 50, 60 frames, 40 unless told; a view 20."""
    nowhere = ("--dataset", "CASIA_B", "--data", tmp_path)
    assert "length 40" in error_of(capsys, "train_simmc", *nowhere, "--probe", "nm.nm")
    for script in ("train_age", "train_smsge"):
        assert "length 20" in error_of(capsys, script, *nowhere, "--view", 0)
        assert "length 40" in error_of(capsys, script, *nowhere, "--probe", "nm.nm", "--task",
                                       "retrieval")


def test_a_view_that_is_not_there(root, capsys):
    message = error_of(capsys, "train_smsge", "--dataset", "CASIA_B", "--data", root, "--length", 6,
                       "--view", 11)
    assert "view" in message
