"""The plain versions that the project is compared with: the published way of doing it, nothing made
slow.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN
from sklearn.metrics import average_precision_score


def cluster(
    x: np.ndarray, rank: np.ndarray, eps: float, min_samples: int, k2: int = 6
) -> np.ndarray:
    """DBSCAN of scikit-learn on the dense matrix of Jaccard distances. x: (N, d) float32; rank: (N,
    k1).
    """
    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(
        jaccard_distance(x, rank, k2)
    )


def jaccard_distance(x: np.ndarray, rank: np.ndarray, k2: int = 6) -> np.ndarray:
    """k-reciprocal Jaccard distances (N, N) float32, row by row with V as a dense (N, N) array."""
    size, k1 = rank.shape
    half = round(k1 / 2) + 1
    mutual = [_mutual(rank, i, k1) for i in range(size)]
    mutual_half = [_mutual(rank, i, half) for i in range(size)]
    V = np.zeros((size, size), dtype=np.float32)
    for i in range(size):
        expanded = [mutual[i]]
        for candidate in mutual[i]:
            other = mutual_half[candidate]
            if len(np.intersect1d(other, mutual[i])) > 2 / 3 * len(other):
                expanded.append(other)
        members = np.unique(np.concatenate(expanded))
        logits = 2 * (x[members] @ x[i]) - 2
        weights = np.exp(logits - logits.max())
        V[i, members] = weights / weights.sum()
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


def _mutual(rank: np.ndarray, i: int, k: int) -> np.ndarray:
    near = rank[i, :k]
    return near[(rank[near, :k] == i).any(axis=1)]


def retrieval(probe, probe_ids, gallery, gallery_ids) -> dict[str, float]:
    """Top-k and mAP of features: all distances at once, then probe by probe."""
    return retrieval_from_distances(cdist(probe, gallery), probe_ids, gallery_ids)


def retrieval_from_distances(distances: np.ndarray, probe_ids, gallery_ids) -> dict[str, float]:
    """Top-k and mAP probe by probe, with scikit-learn's average precision; every person is in the
    gallery.
    """
    first, precision = [], []
    for row, person in zip(distances, probe_ids, strict=True):
        match = gallery_ids == person
        first.append(np.argmax(match[np.argsort(row, kind="stable")]))
        precision.append(average_precision_score(match, -row))
    figures = {f"top{k}": float(np.mean(np.array(first) < k)) for k in (1, 5, 10)}
    return {**figures, "mAP": float(np.mean(precision))}


def read_kgbd_file(path: Path) -> np.ndarray:
    """Frames (n, 20, 3) of a file of lines `Name;x;y;z`, unchecked."""
    coordinates = []
    with path.open() as file:
        for line in file:
            _, x, y, z = line.split(";")
            coordinates.append([float(x), float(y), float(z)])
    frames = len(coordinates) // 20
    return np.array(coordinates[: frames * 20]).reshape(frames, 20, 3)
