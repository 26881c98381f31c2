"""Claim: a process needs less than 8 GiB to cluster 1,000,000 features of 256 numbers (--full).

The features lie in a memory-mapped file. The search is measured on some blocks of rows and
extrapolated; the rest is done whole, on the neighbours, which are known: the made-up features are
clusters of 40 that lie far apart. Also the search by faiss against the one by torch.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import inputs
from benchmarks.harness import Options, Report, alternate, compare, in_new_process, peak_mib, timed
from benchmarks.jaccard import EPS, MIN_SAMPLES
from skeleton_reid.reid import neighbours
from skeleton_reid.reid.jaccard import cluster
from skeleton_reid.reid.neighbours import COLUMNS, nearest_neighbours

MEMBERS = 40  # of a cluster


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
    neighbours_by, times = alternate({**searches, "the product alone": product}, options.rounds)
    same = (neighbours_by["torch"] == neighbours_by["faiss"]).float().mean().item()
    report.notes.append(f"{some:,} features, {100 * same:.3f} % of the neighbours the same; "
                        "seconds and ratios to torch:")
    for each in compare(times, "torch"):
        report.notes.append("  "
                            + "  ".join(f"{key} {value:.3g}" if isinstance(value, float) else value
                                        for key, value in each.items()))
    return report


def make(folder: Path, size: int) -> None:
    """Write made-up features of clusters that lie apart, and their neighbours: those inside."""
    rng = np.random.default_rng(0)
    x = np.empty((size, 256), dtype=np.float32)
    rank = np.empty((size, 20), dtype=np.int64)
    for first in range(0, size, 1000 * MEMBERS):
        centres = rng.normal(scale=0.04, size=(min(1000, (size - first) // MEMBERS), 1, 256))
        own = (centres + rng.normal(scale=0.01, size=(len(centres), MEMBERS, 256)))
        own = own.astype(np.float32)
        squares = np.square(own).sum(axis=2)
        distances = squares[:, :, None] + squares[:, None] - 2 * own @ own.transpose(0, 2, 1)
        inside = np.argsort(distances, axis=2, kind="stable")[:, :, :20]
        numbers = first + MEMBERS * np.arange(len(centres))[:, None, None] + inside
        block = slice(first, first + own.shape[0] * MEMBERS)
        x[block], rank[block] = own.reshape(-1, 256), numbers.reshape(-1, 20)
    np.save(folder / "features.npy", x)
    np.save(folder / "rank.npy", rank)


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
        nearest, seconds = timed(partial(neighbours._nearest, x, squares, 20, x[own], squares[own]))
        blocks.append((seconds.wall * size / rows, seconds.cpu * size / rows))
        same = ((nearest & neighbours.INDEX_BITS) == rank[own]).float().mean().item()
        if same < 0.999:
            raise AssertionError(
                f"only {100 * same:.1f} % of the neighbours are those inside the clusters")
    wall, cpu = np.median(blocks, axis=0)
    searched = peak_mib()
    labels, rest = timed(partial(cluster, x, EPS, MIN_SAMPLES, rank=rank))
    return {
        "features": size, "search s (extrapolated)": float(wall),
        "cpu s (extrapolated)": float(cpu), "rest s": rest.wall, "rest cpu s": rest.cpu,
        "clusters": int(labels.max()) + 1, "peak of search MiB": searched, "peak MiB": peak_mib()
    }


def bare_product(features: torch.Tensor) -> None:
    """The matrix product of the search, in the same tiles, its results dropped."""
    size = len(features)
    for block in features.split(max(1, neighbours.BLOCK_BYTES // (4 * min(size, COLUMNS)))):
        for others in features.split(COLUMNS):
            block @ others.T
