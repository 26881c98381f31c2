"""Slow, obvious versions of what the project computes fast, written after the definitions."""

import numpy as np
from sklearn.metrics import average_precision_score


def nearest(features: np.ndarray, k: int) -> np.ndarray:
    """(N, k) nearest neighbours by brute force, the lower index first among equals."""
    x = features.astype(np.float64)
    distances = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def jaccard(features: np.ndarray, rank: np.ndarray, k2: int = 6) -> np.ndarray:
    """Dense (N, N) k-reciprocal Jaccard distance, line by line after its definition."""
    size, k1 = rank.shape
    half = round(k1 / 2) + 1
    x = features.astype(np.float64)
    near = [set(row) for row in rank]
    near_half = [set(row[:half]) for row in rank]
    R = [{j for j in near[i] if i in near[j]} for i in range(size)]
    R_half = [{j for j in near_half[i] if i in near_half[j]} for i in range(size)]
    V = np.zeros((size, size))
    for i in range(size):
        expanded = set(R[i])
        for c in R[i]:
            if 3 * len(R_half[c] & R[i]) > 2 * len(R_half[c]):
                expanded |= R_half[c]
        members = sorted(expanded)
        if members:
            weights = np.exp(-(2 - 2 * x[members] @ x[i]))
            V[i, members] = weights / weights.sum()
    V = np.stack([V[rank[i, :k2]].mean(axis=0) for i in range(size)])
    m = np.stack([np.minimum(V[i], V).sum(axis=1) for i in range(size)])
    return np.maximum(1 - m / (2 - m), 0)


def retrieval(
    distances: np.ndarray, probe_ids, gallery_ids, exclude_self: bool = False
) -> dict[str, float]:
    """Top-k and mAP probe by probe, with scikit-learn's average precision."""
    first, precision = [], []
    for i, row in enumerate(distances):
        keep = np.arange(len(row)) != i if exclude_self else np.ones(len(row), dtype=bool)
        match = gallery_ids[keep] == probe_ids[i]
        ranked = match[np.argsort(row[keep], kind="stable")]
        first.append(np.flatnonzero(ranked)[0] if match.any() else np.inf)
        if match.any():
            precision.append(average_precision_score(match, -row[keep]))
    figures = {f"top{k}": float(np.mean(np.array(first) < k)) for k in (1, 5, 10)}
    return {**figures, "mAP": float(np.mean(precision)) if precision else 0.0}
