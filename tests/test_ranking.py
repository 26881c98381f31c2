"""Retrieval against released numbers, a table made by hand, and the per-probe loop with
scikit-learn.
"""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from skeleton_reid.common.errors import InputError
from skeleton_reid.reid import ranking
from tests.reference import ranking as reference

FIGURES = ("mAP", "top1", "top5", "top10")


@pytest.fixture(scope="module")
def released(golden):
    with np.load(golden("ranking.npz")) as file:
        return {name: file[name] for name in file.files}


CASES = [
    *("random", "realistic", "realistic_float32", "ties_rounded", "missing_ids",
      "trained_features"), *("trained_features_evalmode", "cross_condition_clnm",
                             "same_condition_nmnm", "same_condition_bgbg")
]


@pytest.mark.parametrize("case", CASES)
def test_released_metrics(released, case):
    names = ("dist", "query_labels", "gallery_labels", "mAP_top1_top5_top10")
    distances, probe_ids, gallery_ids, expected = (released[f"{case}__{name}"] for name in names)
    one_set = case.startswith("same_condition")
    found = ranking.evaluate_distances(distances, probe_ids, gallery_ids, released=one_set)
    np.testing.assert_allclose([found[name] for name in FIGURES], expected, rtol=0, atol=1e-9)
    if f"{case}__gallery_features" in released:
        probe, gallery = released[f"{case}__query_features"], released[f"{case}__gallery_features"]
        found = ranking.evaluate(probe, probe_ids, gallery, gallery_ids, released=one_set)
        np.testing.assert_allclose([found[name] for name in FIGURES], expected, rtol=0, atol=1e-9)


def test_table_by_hand():
    """Three probes, five gallery sequences of the persons 0 0 1 1 2."""
    gallery_ids = np.array([0, 0, 1, 1, 2])
    distances = np.array([
        [1.0, 4.0, 2.0, 3.0, 5.0],  # person 0: matches rank 1 and 4: AP (1/1 + 2/4) / 2
        [1.0, 2.0, 3.0, 3.0, 4.0],  # person 1: both matches tied at rank 3-4: AP (2/4 + 2/4) / 2
        [1.0, 2.0, 3.0, 4.0, 5.0]  # person 7 is not in the gallery: a miss, without AP
    ])
    found = ranking.evaluate_distances(distances, np.array([0, 1, 7]), gallery_ids)
    assert found["top1"] == pytest.approx(1 / 3)
    assert found["top5"] == pytest.approx(2 / 3)
    assert found["mAP"] == pytest.approx((0.75 + 0.5) / 2)
    assert (found["probes"], found["gallery"]) == (3, 5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [False, True])
def test_against_loop(seed, ties, monkeypatch):
    rng = np.random.RandomState(seed)
    probe_ids, gallery_ids = rng.randint(0, 9, size=60), rng.randint(1, 12, size=140)
    gallery = rng.normal(size=(140, 6))
    probe = rng.normal(size=(60, 6))
    if ties:  # whole numbers: distances are exact and many are equal; some gallery rows are copies
        probe, gallery = probe.round(), gallery.round()
    monkeypatch.setattr(ranking, "BLOCK_CELLS", 140 * 3)
    distances = cdist(probe, gallery, "sqeuclidean")
    expected = reference.evaluate_distances(distances, probe_ids, gallery_ids)
    for found in (ranking.evaluate(probe, probe_ids, gallery, gallery_ids),
                  ranking.evaluate_distances(distances, probe_ids, gallery_ids)):
        assert {name: found[name] for name in FIGURES} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1e12, 1e18])
@pytest.mark.parametrize("far", [0, 30, 3000])
def test_products_in_float32_decide_only_what_they_can(scale, far, monkeypatch):
    """Far from zero their rounding is larger than what is between most distances."""
    rng = np.random.RandomState(far)
    ids = rng.randint(0, 5, size=170)
    x = (far + rng.normal(size=(170, 13)) + rng.normal(size=(5, 13))[ids]).astype(np.float32)
    x[100:] *= rng.choice([1, 1.001, 3], size=(70, 1))
    x *= np.float32(scale)
    x[::9] = x[1::9][:19]  # copies
    monkeypatch.setattr(ranking, "BLOCK_CELLS", 170 * 30)
    distances = cdist(x.astype(np.float64), x.astype(np.float64))
    expected = reference.evaluate_distances(distances, ids, ids, exclude_self=True)
    found = ranking.evaluate(x, ids, x, ids, exclude_self=True)
    assert {name: found[name] for name in FIGURES} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_exclude_self_against_loop(seed):
    rng = np.random.RandomState(seed)
    features, ids = (rng.normal(scale=5, size=(80, 4)).round(), rng.randint(0, 30, size=80)
                     )  # some persons occur once
    assert (np.bincount(ids) == 1).any()
    found = ranking.evaluate(features, ids, features, ids, exclude_self=True)
    distances = cdist(features, features, "sqeuclidean")
    expected = reference.evaluate_distances(distances, ids, ids, exclude_self=True)
    assert {name: found[name] for name in FIGURES} == pytest.approx(expected, abs=1e-9)


def test_copies_in_the_gallery_are_tied():
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(50, 33)).astype(np.float32)
    gallery = np.concatenate([rows] * 7)
    gallery_ids = rng.randint(0, 5, size=len(gallery))
    probe, probe_ids = rng.normal(size=(20, 33)).astype(np.float32), rng.randint(0, 5, size=20)
    distances = np.tile(cdist(probe, rows), 7)
    expected = reference.evaluate_distances(distances, probe_ids, gallery_ids)
    found = ranking.evaluate(probe, probe_ids, gallery, gallery_ids)
    assert {name: found[name] for name in FIGURES} == pytest.approx(expected, abs=1e-9)


def test_no_match_no_mean_average_precision():
    features, ids = np.eye(3), np.arange(3)
    with pytest.warns(UserWarning, match="no probe has a match in the gallery: there is no mAP"):
        found = ranking.evaluate(features, ids, features, ids + 3)
    assert np.isnan(found["mAP"]) and found["top1"] == 0
    with pytest.warns(UserWarning, match="there is no mAP"):
        assert np.isnan(ranking.evaluate(features, ids, features, ids, exclude_self=True)["mAP"])


@pytest.mark.parametrize("offset", [1e6, 1e10])
def test_features_far_from_the_origin(offset):
    rng = np.random.RandomState(0)
    features, ids = rng.randint(-50, 50, size=(90, 4)).astype(float), rng.randint(9, size=90)
    expected = ranking.evaluate(features[:30], ids[:30], features[30:], ids[30:])
    assert ranking.evaluate(features[:30] + offset, ids[:30], features[30:] + offset,
                            ids[30:]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"probe": np.full((3, 2), np.nan)}, "features hold NaN"),
     ({"gallery": np.full((4, 2), 1e160)}, "features hold .* over 1e150"),
     ({"probe": np.ma.array(np.ones((3, 2)), mask=np.eye(3, 2))}, "features hold NaN"),
     ({"gallery": np.ma.array(np.ones((4, 2), int), mask=np.eye(4, 2))}, "features hold NaN"),
     ({"gallery": np.zeros((4, 5))}, r"\(N, d\), found \(\(3, 2\), \(4, 5\)\)"),
     ({"probe_ids": np.zeros(9)}, r"expected \(3, 4\) probe"),
     ({"probe": np.zeros((0, 2)), "probe_ids": np.zeros(0)}, "nothing to rank"),
     ({"exclude_self": True}, "same set"), ({"gallery": np.zeros(4)}, r"\(N, d\)")])
def test_bad_input(change, message):
    good = {
        "probe": np.zeros((3, 2)), "probe_ids": np.zeros(3), "gallery": np.zeros((4, 2)),
        "gallery_ids": np.zeros(4)
    }
    with pytest.raises(InputError, match=message):
        ranking.evaluate(**(good | change))


@pytest.mark.parametrize(("row", "bad"), [([np.nan], 1), ([-np.inf, 0], 1), ([1e308, -1e308], 2)])
def test_distances_that_cannot_be_ranked_are_refused(row, bad):
    distances = np.ones((3, 4))
    distances[0, :len(row)] = row
    with pytest.raises(InputError, match=rf"below 1e300 or inf, found \(3, 4\), {bad} of them"):
        ranking.evaluate_distances(distances, np.zeros(3), np.zeros(4))
    distances[0] = 1, 2, 1e299, np.inf
    assert ranking.evaluate_distances(distances, np.zeros(3), np.zeros(4))["mAP"] == 1
