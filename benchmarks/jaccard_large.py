"""Claim: 30,000 features are clustered in under 2 GiB and 40 s; 200,000 also run (--full). The
search in a subspace is 2 (3) times faster than the search without it, and on random features of
full rank, for which it is not used, at most 1.1 times slower.

Both are measured in turns with the plain form, find the same, and are compared by CPU time. Of
many features some rows are searched without it, and the time is that of all.
"""

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import inputs
from benchmarks.harness import (Options, Report, alternate, in_new_process, peak_mib, resident_mib,
                                timed)
from benchmarks.jaccard import EPS, MIN_SAMPLES, describe
from skeleton_reid.reid import neighbours
from skeleton_reid.reid.jaccard import cluster
from skeleton_reid.reid.neighbours import nearest_neighbours
from tests.reference import neighbours as reference

ROWS_OF = 30_000  # features up to which all rows are searched plainly; of more as many pairs


def run(options: Options) -> Report:
    size, large = (neighbours.SMALLEST, 9_000) if options.quick else (30_000, 200_000)
    report = Report("Clustering many features of 256 numbers: CPU seconds, peak of the process")
    report.rows = [in_new_process(measure, options.features, size, options.rounds)]
    report.rows += [in_new_process(measure, options.features, large, 1)] if options.full else []
    report.rows.append(in_new_process(measure, None, size, options.rounds, True))
    for row in report.rows:
        report.notes.append(f"{row['features']:,}: {row.pop('source')}; {row.pop('density')}")
    report.notes.append("imported: memory before there are features")
    first, *larger, random = report.rows
    report.require("under 2 GiB", first["peak MiB"] < 2048)
    report.require("under 40 s", first["wall s"] < 40)
    report.require("twice as fast as without a subspace", first["faster"] >= 2)
    report.require("at most 1.1 times slower on random features", random["faster"] >= 1 / 1.1)
    for row in larger:
        report.require("3 times as fast on 200,000", row["faster"] >= 3)
    return report


def measure(file: Path | None, size: int, rounds: int, full_rank: bool = False) -> dict[str, Any]:
    """Cluster in this process, which has done nothing before. Returns a row of the table."""
    cluster(inputs.clustered(100), EPS, MIN_SAMPLES)  # compiles
    imported = resident_mib()
    x, source = inputs.features(file, size)
    if full_rank:
        x, source = np.random.RandomState(0).normal(size=x.shape).astype("f"), "of full rank"
    features = torch.from_numpy(x)
    search = partial(nearest_neighbours, features, 20)
    rank, ours = timed(search)  # compiles
    labels, rest = timed(partial(cluster, features, EPS, MIN_SAMPLES, rank=rank))
    peak = peak_mib()

    step = max(1, size**2 // ROWS_OF**2)  # rows from one that is searched plainly to the next
    squares = features.square().sum(dim=1)
    blocks = [rows[::step].split(512) for rows in (features, squares)]

    def without() -> torch.Tensor:
        keys = [neighbours._nearest(features, squares, 20, *b) for b in zip(*blocks, strict=True)]
        return torch.cat(keys) & neighbours.INDEX_BITS

    def product() -> None:
        for block in blocks[0]:
            block @ features.T

    plain = partial(reference.nearest_neighbours, features, 20, step)
    versions = {"plain": plain, "without subspace": without, "product": product}
    found, times = alternate(versions | {"search": search}, rounds)
    for name in ("plain", "without subspace", "search"):
        if not torch.equal(rank[::1 if name == "search" else step], found[name]):
            raise AssertionError("the searches differ")
    share = len(features[::step]) / size
    cpu = {
        name: [each.cpu / (share if name in versions else 1) for each in own]
        for name, own in times.items()
    }
    faster = median(a / b for a, b in zip(cpu["without subspace"], cpu["search"], strict=True))
    return {
        "features": size, **{name: median(own) for name, own in cpu.items()}, "faster": faster,
        "rest": rest.cpu, "wall s": ours.wall + rest.wall, "imported MiB": imported,
        "peak MiB": peak, "source": source, "density": describe(features, rank, labels)
    }
