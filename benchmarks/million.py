"""Claim: a process needs less than 8 GiB to cluster 1,000,000 features of 256 numbers (--full).

The features lie in a memory-mapped file. The search is measured on some blocks of rows and
extrapolated; the rest is done whole, on the exact neighbours, which a k-d tree finds in the few
dimensions that these made-up features fill. Also the search by faiss against the one by torch.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from benchmarks import inputs
from benchmarks.harness import Options, Report, alternate, compare, in_new_process, peak_mib, timed
from benchmarks.jaccard import EPS, MIN_SAMPLES
from reid import neighbours
from reid.jaccard import cluster
from reid.neighbours import COLUMNS, nearest_neighbours

INNER = 6  # dimensions that the features fill


def run(options: Options) -> Report:
    size = 2000 if options.quick else 1_000_000 if options.full else 100_000
    in_new_process(make, options.work, size)
    row = in_new_process(measure, options.work, size)
    report = Report(f"Clustering {size:,} x 256 features in a memory-mapped file, one process")
    report.rows.append(row)
    report.notes.append("search: extrapolated from measured blocks of rows; the rest is measured")
    report.require("under 8 GiB", row["peak MiB"] < 8 * 1024)
    some = 1000 if options.quick else 20_000
    x = torch.from_numpy(inputs.clustered(some))
    product = partial(bare_product, x)
    searches = {name: partial(nearest_neighbours, x, 20, name) for name in ("torch", "faiss")}
    found, times = alternate({**searches, "the product alone": product}, options.rounds)
    same = (found["torch"] == found["faiss"]).float().mean().item()
    report.notes.append(f"{some:,} features, {100 * same:.3f} % of the neighbours the same; "
                        "seconds and ratios to torch:")
    for each in compare(times, "torch"):
        report.notes.append("  "
                            + "  ".join(f"{key} {value:.3g}" if isinstance(value, float) else value
                                        for key, value in each.items()))
    return report


def make(folder: Path, size: int) -> None:
    """Write made-up features and their exact neighbours."""
    x = inputs.clustered(size)
    np.save(folder / "features.npy", x)
    basis = np.linalg.svd(x[:1000], full_matrices=False)[2][:INNER]
    inner = x @ basis.T  # distances are kept
    tree = cKDTree(inner)
    parts = (tree.query(inner[first:first + COLUMNS], 20)[1] for first in range(0, size, COLUMNS))
    np.save(folder / "rank.npy", np.concatenate(list(parts)))


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Cluster in this process, which has done nothing before. Returns a row of the table."""
    x = torch.from_numpy(np.load(folder / "features.npy", mmap_mode="c"))
    rank = torch.from_numpy(np.load(folder / "rank.npy"))
    cluster(x[:100], EPS, MIN_SAMPLES)  # compiles
    squares = torch.cat([block.square().sum(dim=1) for block in x.split(COLUMNS)])
    rows = min(size, neighbours.BLOCK_BYTES // (4 * min(size, COLUMNS)))
    blocks = []
    for first in np.linspace(0, size - rows, 3).astype(int):
        own = slice(first, first + rows)
        found, seconds = timed(partial(neighbours._nearest, x, squares, 20, x[own], squares[own]))
        blocks.append(seconds.wall * size / rows)
        same = (found == rank[own]).float().mean().item()
        if same < 0.999:
            raise AssertionError(f"only {100 * same:.1f} % of the neighbours are those of the tree")
    searched = peak_mib()
    labels, rest = timed(partial(cluster, x, EPS, MIN_SAMPLES, rank=rank))
    return {
        "features": size, "search s (extrapolated)": float(np.median(blocks)), "rest s": rest.wall,
        "rest cpu s": rest.cpu, "clusters": int(labels.max()) + 1, "peak of search MiB": searched,
        "peak MiB": peak_mib()
    }


def bare_product(features: torch.Tensor) -> None:
    """The matrix product of the search, in the same tiles, its results dropped."""
    size = len(features)
    for block in features.split(max(1, neighbours.BLOCK_BYTES // (4 * min(size, COLUMNS)))):
        for others in features.split(COLUMNS):
            block @ others.T
