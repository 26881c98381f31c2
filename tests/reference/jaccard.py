"""Nearest neighbours, k-reciprocal Jaccard distance and DBSCAN on it: the published way, nothing
made slow.
"""

import numpy as np
from sklearn.cluster import DBSCAN


def nearest_neighbours(x: np.ndarray, k: int) -> np.ndarray:
    """(N, k) nearest neighbours of x (N, d) by brute force, the lower index first among equals."""
    x = x.astype(np.float64)
    distances = ((x[:, None] - x[None])**2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def jaccard_distance(x: np.ndarray, rank: np.ndarray, k2: int = 6) -> np.ndarray:
    """k-reciprocal Jaccard distances (N, N) float32, row by row with V as a dense (N, N) array.

    x: (N, d) float32; rank: (N, k1), nearest first.
    """
    size, k1 = rank.shape
    half = round(k1 / 2) + 1
    reciprocal = [_reciprocal(rank, i, k1) for i in range(size)]
    reciprocal_half = [_reciprocal(rank, i, half) for i in range(size)]
    V = np.zeros((size, size), dtype=np.float32)
    for i in range(size):
        expanded = [reciprocal[i]]
        for candidate in reciprocal[i]:
            other = reciprocal_half[candidate]
            if len(np.intersect1d(other, reciprocal[i])) > 2 / 3 * len(other):
                expanded.append(other)
        members = np.unique(np.concatenate(expanded))
        logits = 2 * (x[members] @ x[i]) - 2
        weights = np.exp(logits - logits.max())
        V[i, members] = weights / weights.sum()
    if k2 > 1:
        V = np.stack([V[rank[i, :k2]].mean(axis=0) for i in range(size)])
    holders = [np.flatnonzero(V[:, column]) for column in range(size)]  # the inverted index
    distances = np.zeros((size, size), dtype=np.float32)
    for i in range(size):
        minima = np.zeros(size, dtype=np.float32)
        for column in np.flatnonzero(V[i]):
            rows = holders[column]
            minima[rows] += np.minimum(V[i, column], V[rows, column])
        distances[i] = 1 - minima / (2 - minima)
    return np.maximum(distances, 0)


def _reciprocal(rank: np.ndarray, i: int, k: int) -> np.ndarray:
    near = rank[i, :k]
    return near[(rank[near, :k] == i).any(axis=1)]


def cluster(x: np.ndarray, rank: np.ndarray, eps: float, min_samples: int,
            k2: int = 6) -> np.ndarray:
    """Labels (N,) of scikit-learn's DBSCAN on the dense matrix of Jaccard distances."""
    distances = jaccard_distance(x, rank, k2)
    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distances)
