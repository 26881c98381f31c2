"""Claim: clustering 6,000 features, after the neighbour search, is at least 30 times faster than a
plain dense way.

Both get the same neighbours and must give the same labels.
"""

from functools import partial

import numpy as np
import torch

from benchmarks import inputs, plain
from benchmarks.harness import Options, Report, alternate, compare
from reid import jaccard
from reid.neighbours import nearest_neighbours

EPS, MIN_SAMPLES = 0.6, 4  # the published setting for KGBD


def run(options: Options) -> Report:
    size = 600 if options.quick else 6000
    x, source = inputs.features(options.features, size)
    features = torch.from_numpy(x)
    rank = nearest_neighbours(features, 20)
    versions = {"plain, dense": partial(plain.cluster, x, rank.numpy(), EPS, MIN_SAMPLES)}
    if jaccard.compiled is not None:
        fast = "sparse, compiled loop"
        versions[fast] = partial(jaccard.cluster_from_neighbours, features, rank, EPS, MIN_SAMPLES)
        jaccard.cluster(features[:100], EPS, MIN_SAMPLES)  # compiles
    else:
        fast = "sparse, array operations"
    versions["sparse, array operations"] = partial(_array_operations, features, rank)
    labels, times = alternate(versions, options.rounds)
    for name, found in labels.items():
        if not np.array_equal(found, labels["plain, dense"]):
            different = int((found != labels["plain, dense"]).sum())
            raise AssertionError(
                f"{name}: {different} of {size} labels differ from the plain version's"
            )
    report = Report(f"Jaccard distance and DBSCAN of {size:,} features, given the neighbours")
    report.rows = compare(times, "plain, dense")
    y = labels[fast]
    report.notes = [source, describe(features, rank, y), "the labels are equal"]
    ratio = next(row for row in report.rows if row["version"] == fast)
    report.require("at least 30 times faster", min(ratio["wall ratio"], ratio["cpu ratio"]) >= 30)
    return report


def describe(features: torch.Tensor, rank: torch.Tensor, labels: np.ndarray) -> str:
    """The density of V and of the clusters, on which the cost hangs."""
    entries = len(jaccard.encode(features, rank, 6).value) / len(features)
    members = (labels >= 0).sum() / max(1, labels.max() + 1)
    return (
        f"{entries:.0f} entries in a row of V, {labels.max() + 1:,} clusters of {members:.0f}, "
        f"{100 * (labels < 0).mean():.0f} % noise"
    )


def _array_operations(features: torch.Tensor, rank: torch.Tensor) -> np.ndarray:
    """The way for GPUs and for machines without Numba."""
    compiled, jaccard.compiled = jaccard.compiled, None
    try:
        return jaccard.cluster_from_neighbours(features, rank, EPS, MIN_SAMPLES)
    finally:
        jaccard.compiled = compiled
