"""How well clusters and features agree with the true persons; for analysis, never for training."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skeleton_reid.models.simmc import mean_of_clusters


def metrics(clusterings: Sequence[np.ndarray], features: Tensor, persons: np.ndarray,
            tight: bool = False) -> dict[str, float]:
    """Sizes of two clusterings (N,), and their mutual information (MI, nats; AMI: adjusted) with
    the true persons (N,), noise as one more cluster. tight: also `tightness` of features (N, d).

    Without noise: size, windows of the median cluster; largest, those of the largest; purity, the
    share of windows whose person is the most frequent one of their cluster.
    """
    from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    row = {"outliers": int((np.stack(clusterings) < 0).any(axis=0).sum())}
    for k, clusters in enumerate(clusterings, start=1):
        row[f"clusters_{k}"] = len(np.unique(clusters[clusters >= 0]))
        row[f"noise_{k}"] = int((clusters < 0).sum())
        row[f"MI_{k}"] = float(mutual_info_score(persons, clusters))
        row[f"AMI_{k}"] = float(adjusted_mutual_info_score(persons, clusters))
        if (kept := clusters >= 0).any():
            counts = contingency_matrix(persons[kept], clusters[kept])  # (persons, clusters)
            sizes = counts.sum(axis=0)
            row[f"size_{k}"], row[f"largest_{k}"] = float(np.median(sizes)), int(sizes.max())
            row[f"purity_{k}"] = float(counts.max(axis=0).sum() / sizes.sum())
    if tight:
        row |= tightness(features, torch.from_numpy(persons).to(features.device))
    return row


def tightness(features: Tensor, persons: Tensor) -> dict[str, float]:
    """mACT and mRCL (SimMC, section 4.4): how tight and far apart true classes of (N, d) are.

    D[a, b] = mean cosine distance of the samples of class a to the centre of class b; A = mean of
    D; mACT = A / mean(diagonal of D); mRCL = mean distance between two centres / A.
    """
    _, classes = torch.unique(persons, return_inverse=True)
    centres = functional.normalize(mean_of_clusters(features, classes))  # (C, d)
    # The mean cosine to a centre is linear in the unit features: no N x C matrix is needed.
    directions = mean_of_clusters(functional.normalize(features), classes)
    D = 1 - directions @ centres.T  # (C, C)
    between = 1 - centres @ centres.T
    A = D.mean()
    return {"mACT": float(A / D.diagonal().mean()), "mRCL": float(between.mean() / A)}
