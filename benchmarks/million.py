"""Claim: a process searches and clusters 1,000,000 features (--full) in less than 8 GiB.

Every neighbour is searched for. The features lie in a memory-mapped file: --features FILE and
mirror images of it, else made-up ones. 100,000 without --full.
"""

from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks import inputs
from benchmarks.harness import Options, Report, in_new_process, peak_mib, timed
from benchmarks.jaccard import EPS, MIN_SAMPLES
from skeleton_reid.reid.jaccard import cluster
from skeleton_reid.reid.neighbours import SMALLEST, Subspace, nearest_neighbours

SAID = 128  # blocks from one line of progress to the next


def run(options: Options) -> Report:
    size = 9000 if options.quick else 1_000_000 if options.full else 100_000
    x, source = inputs.features(options.features, size)
    np.save(options.work / "features.npy", x)
    report = Report(f"Clustering {size:,} features in a memory-mapped file, one process")
    report.rows.append(in_new_process(measure, options.work / "features.npy"))
    report.notes.append(source)
    report.require("under 8 GiB", report.rows[0]["peak MiB"] < 8 * 1024)
    return report


def measure(file: Path) -> dict[str, Any]:
    """Cluster in this process, which has done nothing before. Returns a row of the table."""
    x = torch.from_numpy(np.load(file, mmap_mode="c"))
    cluster(inputs.clustered(SMALLEST), EPS, MIN_SAMPLES)  # compiles
    begun, nearest = count(1), Subspace.nearest

    def reported(search: Subspace, *block: Any) -> tuple[torch.Tensor, bool]:
        if (number := next(begun)) % SAID == 0:
            print(f"{number:,} of {len(search.blocks):,} blocks", flush=True)
        return nearest(search, *block)

    with patch.object(Subspace, "nearest", reported):
        rank, search = timed(partial(nearest_neighbours, x, 20))
    searched = peak_mib()
    labels, rest = timed(partial(cluster, x, EPS, MIN_SAMPLES, rank=rank))
    return {
        "features": len(x), "search s": search.wall, "search cpu s": search.cpu,
        "rest s": rest.wall, "rest cpu s": rest.cpu, "clusters": int(labels.max()) + 1,
        "peak of search MiB": searched, "peak MiB": peak_mib()
    }
