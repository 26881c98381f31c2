"""How well clusters and features agree with the true persons; for analysis, never for training."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skeleton_reid.common.numbers import counted
from skeleton_reid.models.simmc import mean_of_clusters

RECENT = 5  # epochs that show a collapse


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
        row[f"clusters_{k}"] = int(clusters.max()) + 1
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


def collapse(rows: Sequence[Mapping[str, float]], persons: np.ndarray) -> str | None:
    """A line if learning has collapsed, in all of the last RECENT epochs, and what to try; or None.

    rows: of history.csv, from the untrained model on. persons: (N,) of the training windows.
    """
    if len(rows) <= RECENT:
        return None
    _, counts = np.unique(persons, return_counts=True)
    clustered = [row for row in rows if "clusters_1" in row][-RECENT:]
    scored = [row["top1"] for row in rows[1:] if "top1" in row][-RECENT:]
    found = {
        name: [row.get(name, 0) for row in clustered]
        for name in ("clusters_1", "largest_1", "purity_1")
    }
    if clustered and 2 * max(found["clusters_1"]) < len(counts):
        number = counted(found["clusters_1"][-1], "cluster")
        problem = f"{number} for {len(counts)} persons"
    elif clustered and min(found["largest_1"]) > 0.9 * len(persons):
        problem = "one cluster holds nearly all windows"
    elif clustered and max(found["purity_1"]) < 1.5 * counts.max() / len(persons):
        problem = "the purity of the clusters is at chance"
    elif scored and max(scored) < rows[0]["top1"]:
        problem = f"top-1 is {scored[-1]:.1%}, that of the untrained model {rows[0]['top1']:.1%}"
    else:
        return None
    return f"learning has collapsed: {problem}; try a smaller --eps, a smaller --lr or more data"


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
