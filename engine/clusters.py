"""Pseudo-labels of training windows: clusters of their features or of their tracklets."""

from typing import Any, NoReturn

import numpy as np
from torch import Tensor
from torch.nn import functional

from skeleton_reid.engine import results
from skeleton_reid.engine.options import ClusterOptions
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.reid.jaccard import cluster

SEARCHED = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # by search_eps
LARGEST = 0.2  # share of the windows in one cluster


def pseudo_labels(v: Tensor, tracklets: Tensor | None, options: ClusterOptions,
                  **arguments: Any) -> np.ndarray:
    """`cluster_tracklets` with the settings of a run; or `search_eps`, if that is wanted."""
    arguments |= {"min_samples": options.settings.min_samples, "search": options.search}
    if options.search_eps:
        search_eps(v, tracklets, **arguments)
    return cluster_tracklets(v, tracklets, options.settings.eps, **arguments)


def cluster_tracklets(v: Tensor, tracklets: Tensor | None, eps: float,
                      **arguments: Any) -> np.ndarray:
    """Labels (N,) of windows, -1 for noise, by features (N, D): those of the mean features of their
    tracklets (N,), or without any their own. arguments: of reid.jaccard.cluster, in whose place a
    function of one's own may leave numbers out.
    """
    if tracklets is None:
        labels = cluster(v, eps, **arguments)
    else:  # half of the usual neighbours: a tracklet stands for several windows
        means = functional.normalize(mean_of_clusters(v, tracklets))
        labels = cluster(means, eps, **arguments | {"k1": 10})[tracklets.cpu().numpy()]
    used = np.unique(labels[labels >= 0])
    return np.where(labels < 0, -1, np.searchsorted(used, labels))


def search_eps(features: Tensor, tracklets: Tensor | None, **arguments: Any) -> NoReturn:
    """Print the clusters by eps of features (N, d), which no training has touched, and end. The
    best eps, known without labels, is the largest whose largest cluster stays small: beyond it
    clusters run together (docs/02-training.md has what that chooses on known data sets).
    """
    rows, best = [], None
    for eps in SEARCHED:
        labels = cluster_tracklets(features, tracklets, eps, **arguments)
        sizes = np.bincount(labels[labels >= 0], minlength=1)
        largest, noise = sizes.max() / len(labels), np.mean(labels < 0)
        best = eps if largest <= LARGEST else best
        rows.append({
            "eps": str(eps), "clusters": str(np.count_nonzero(sizes)), "noise": f"{noise:.1%}",
            "largest cluster": f"{largest:.1%}"
        })  # fmt: skip
    print(results.text_table(rows))
    small = f"no cluster above {LARGEST:.0%} of the windows"
    print(f"try --eps {best}: the largest with {small}"
          if best else f"none has {small}: try a smaller --eps, or more recordings")
    raise SystemExit(0)
