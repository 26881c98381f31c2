"""How well clusters and features agree with the true persons; for analysis, never for training."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score
from torch import Tensor
from torch.nn import functional


def information(persons, clusters) -> dict[str, float]:
    """Mutual information (nats) and adjusted mutual information of two labellings (N,); noise
    counts as a cluster.
    """
    return {
        "MI": float(mutual_info_score(persons, clusters)),
        "AMI": float(adjusted_mutual_info_score(persons, clusters)),
    }


def describe(
    labels: Sequence[np.ndarray], whole: Tensor, persons: np.ndarray, tight: bool
) -> dict[str, float]:
    """Sizes of two clusterings (N,) and their agreement with the true persons, which training never
    sees.

    whole: features (N, d), for their `tightness` if it is asked for.
    """
    row = {"outliers": int((np.stack(labels) < 0).any(axis=0).sum())}
    for k, y in enumerate(labels, start=1):
        row |= {f"clusters_{k}": int(y.max()) + 1, f"noise_{k}": int((y < 0).sum())}
        row |= {f"{name}_{k}": value for name, value in information(persons, y).items()}
    if tight:
        row |= tightness(whole, torch.from_numpy(persons).to(whole.device))
    return row


def tightness(features: Tensor, persons: Tensor) -> dict[str, float]:
    """mACT and mRCL (SimMC, section 4.4): how tight the true classes are, and how far apart their
    centres.

    features: (N, d), persons: (N,). D[a, b] = mean cosine distance of the samples of class a to the
    centre of class b; A = mean of D; mACT = A / mean(diagonal of D); mRCL = mean distance between
    two centres / A.
    """
    _, classes = torch.unique(persons, return_inverse=True)
    counts = torch.bincount(classes).to(features.dtype)[:, None]  # (C, 1)
    zeros = features.new_zeros(len(counts), features.shape[1])
    centres = functional.normalize(zeros.index_add(0, classes, features) / counts, dim=1)
    # The mean cosine to a centre is linear in the unit features: no N x C matrix is needed.
    directions = zeros.index_add(0, classes, functional.normalize(features, dim=1)) / counts
    D = 1 - directions @ centres.T  # (C, C)
    between = 1 - centres @ centres.T
    A = D.mean()
    return {"mACT": float(A / D.diagonal().mean()), "mRCL": float(between.mean() / A)}
