"""Neighbours, k-reciprocal Jaccard distance and DBSCAN, against released numbers and plain
versions.
"""

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_mutual_info_score

from skeleton_reid.common.errors import InputError
from skeleton_reid.reid.jaccard import cluster, jaccard_distance
from skeleton_reid.reid.neighbours import nearest_neighbours
from tests.reference import jaccard as reference

CASES = [
    "untrained_N64", "trained_N64", "clusters_N64", "random_small_N64", "random_large_N64",
    "duplicates_N60", "duplicates25x_N100", "lattice_exact_ties_N80", "identical_N40", "zeros_N40",
    "trained_N300", "random_small_N300"
]


@pytest.fixture(scope="module")
def released(golden):
    with np.load(golden("jaccard.npz")) as file:
        return {name: file[name] for name in file.files}


def dense(matrix) -> np.ndarray:
    """(N, N): the stored pairs, 1 elsewhere."""
    pairs = matrix.tocoo()
    full = np.ones(matrix.shape, dtype=np.float32)
    full[pairs.row, pairs.col] = pairs.data
    return full


def walkers(rng, size, persons, spread, d=24):
    """Clustered features (size, d) float32."""
    centres = rng.normal(size=(persons, d))
    return (centres[rng.randint(persons, size=size)] + spread * rng.normal(size=(size, d))).astype(
        np.float32)


@pytest.mark.parametrize("case", CASES)
def test_released_distances(released, case):
    features = torch.from_numpy(released[f"{case}__features"])
    rank = torch.from_numpy(released[f"{case}__initial_rank"].astype(np.int64))
    expected = released[f"{case}__jaccard"]
    distances = dense(jaccard_distance(features, rank=rank))
    np.testing.assert_allclose(distances[:len(expected)], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", [*CASES, "fewer_than_k1_N12"])
def test_released_labels(released, case):
    features = released[f"{case}__features"]
    settings = [name for name in released if name.startswith(f"{case}__labels_eps")]
    assert len(settings) == 4
    for name in settings:
        eps, min_samples = name.split("eps")[1].split("_ms")
        np.testing.assert_array_equal(cluster(features, float(eps), int(min_samples)),
                                      released[name])


@pytest.mark.parametrize(
    "case", [c for c in CASES if c not in ("duplicates_N60", "identical_N40", "zeros_N40")])
def test_released_neighbours(released, case):
    found = nearest_neighbours(torch.from_numpy(released[f"{case}__features"]), 20).numpy()
    np.testing.assert_array_equal(found, released[f"{case}__initial_rank"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (7, 1), (9, 3)])
def test_distances_against_definition(seed, k1, k2):
    rng = np.random.RandomState(seed)
    features = walkers(rng, 150, 8, rng.uniform(0.2, 1.5)) * np.float32(rng.uniform(0.1, 1))
    rank = reference.nearest_neighbours(features, k1)
    found = jaccard_distance(features, k2=k2, rank=torch.from_numpy(rank))
    np.testing.assert_allclose(dense(found), reference.jaccard_distance(features, rank, k2),
                               atol=5e-6)
    assert found.has_sorted_indices
    assert (found.data < 1).all()


@pytest.mark.parametrize("entries", [1, 10_000])
def test_blocks_of_any_size_give_the_same(entries, monkeypatch):
    features = walkers(np.random.RandomState(5), 700, 20, 0.8)
    whole = jaccard_distance(features)
    monkeypatch.setattr("skeleton_reid.reid.jaccard.BLOCK_ENTRIES", entries)
    blocks = jaccard_distance(features)
    np.testing.assert_array_equal(whole.indptr, blocks.indptr)
    np.testing.assert_array_equal(whole.indices, blocks.indices)
    np.testing.assert_array_equal(whole.data, blocks.data)


@pytest.mark.parametrize(("eps", "min_samples"), [(0.6, 4), (0.8, 2)])
def test_labels_of_the_plain_way(eps, min_samples):
    features = walkers(np.random.RandomState(9), 400, 12, 0.9) * np.float32(0.2)
    rank = nearest_neighbours(torch.from_numpy(features), 20).numpy()
    expected = reference.cluster(features, rank, eps, min_samples)
    assert expected.max() > 0
    np.testing.assert_array_equal(cluster(features, eps, min_samples), expected)


def test_max_distance_keeps_the_close_pairs():
    features = walkers(np.random.RandomState(6), 200, 5, 0.7)
    whole, close = jaccard_distance(features), jaccard_distance(features, max_distance=0.5)
    expected = dense(whole)
    expected[expected > 0.5] = 1
    np.testing.assert_array_equal(dense(close), expected)
    assert 0 < close.nnz < whole.nnz


def test_pairs_at_distance_zero_are_stored():
    matrix = jaccard_distance(np.ones((30, 4), dtype=np.float32))
    assert matrix.nnz == 900
    assert (matrix.data == 0).all()


def test_eps_is_inside_its_radius():
    """Saturated weights are multiples of 1/6: many distances are 0.8 but for rounding. eps = 0.8
    holds 0.8.
    """
    features = 40 * walkers(np.random.RandomState(0), 300, 12, 0.3, d=8)
    matrix = jaccard_distance(features)
    assert (np.abs(matrix.data - 0.8) < 1e-6).sum() > 100
    assert (matrix.data == np.float32(0.8)).any()
    within = jaccard_distance(features, max_distance=0.8)
    assert within.nnz == (matrix.data <= np.float32(0.8)).sum()
    labels = cluster(features, 0.8, 2)
    full = dense(matrix)
    np.testing.assert_array_equal(
        labels,
        DBSCAN(eps=0.8, min_samples=2, metric="precomputed").fit_predict(full))


@pytest.mark.parametrize("size", [5, 21, 40, 700, 1500])
def test_neighbours_with_ties_take_the_lower_index(size):
    rng = np.random.RandomState(size)
    features = rng.randint(0, 3,
                           size=(size, 5)).astype(np.float32)  # integers: exact, with many ties
    expected = reference.nearest_neighbours(features, 20)
    np.testing.assert_array_equal(
        nearest_neighbours(torch.from_numpy(features), 20).numpy(), expected)


def test_neighbours_in_blocks(monkeypatch):
    features = torch.from_numpy(walkers(np.random.RandomState(1), 1500, 30, 0.9))
    whole = nearest_neighbours(features, 20)
    monkeypatch.setattr("skeleton_reid.reid.neighbours.BLOCK_BYTES", 4 * 1500 * 100)
    assert torch.equal(nearest_neighbours(features, 20), whole)


def test_fewer_points_than_neighbours():
    features = walkers(np.random.RandomState(2), 12, 2, 0.3)
    matrix = jaccard_distance(features)
    rank = reference.nearest_neighbours(features, 12)
    np.testing.assert_allclose(dense(matrix), reference.jaccard_distance(features, rank), atol=2e-6)
    np.testing.assert_allclose(matrix.diagonal(), 0, atol=1e-6)


def test_cluster_given_neighbours_is_cluster():
    features = torch.from_numpy(walkers(np.random.RandomState(3), 300, 10, 0.5))
    rank = nearest_neighbours(features, 20)
    np.testing.assert_array_equal(cluster(features, 0.6, 4, rank=rank), cluster(features, 0.6, 4))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 1e160])
def test_features_without_distances_are_refused(value):
    features = np.zeros((30, 4))
    features[3, 1] = value
    with pytest.raises(InputError, match=r"NaN.*1 of 30"):
        cluster(features, 0.6, 4)


def test_an_unknown_search_is_refused():
    with pytest.raises(InputError, match="search: expected torch or faiss, found 'fais'"):
        cluster(np.zeros((30, 4), np.float32), 0.6, 4, search="fais")


def test_features_far_from_the_origin():
    features = walkers(np.random.RandomState(3), 300, 10, 0.5).astype(np.float64)
    labels = cluster(features, 0.6, 4), cluster(features + 2.0**26, 0.6, 4)  # float32: whole 4s
    assert adjusted_mutual_info_score(*labels) > 0.9
    masked = np.ma.array(features, mask=features > 9)
    masked[3, 1] = np.ma.masked
    with pytest.raises(InputError, match=r"NaN.*1 of 300"):
        cluster(masked, 0.6, 4)
