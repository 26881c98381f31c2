"""Ranks, top-k and mAP probe by probe, with scikit-learn's average precision."""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score


def evaluate(probe, probe_ids, gallery, gallery_ids) -> dict[str, float]:
    """Metrics of features (P, d) and (G, d): all distances at once."""
    return evaluate_distances(cdist(probe, gallery), probe_ids, gallery_ids)


def evaluate_distances(distances: np.ndarray, probe_ids, gallery_ids,
                       exclude_self: bool = False) -> dict[str, float]:
    """Metrics of distances (P, G). exclude_self: a row's own column is left out."""
    first, precision = [], []
    for i, row in enumerate(distances):
        match = gallery_ids == probe_ids[i]
        if exclude_self:
            row, match = np.delete(row, i), np.delete(match, i)
        if match.any():
            first.append(np.argmax(match[np.argsort(row, kind="stable")]))
            precision.append(average_precision_score(match, -row))
        else:
            first.append(np.inf)
    metrics = {f"top{k}": float(np.mean(np.array(first) < k)) for k in (1, 5, 10)}
    return {**metrics, "mAP": float(np.mean(precision)) if precision else 0.0}
