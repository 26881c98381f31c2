"""Claim: 30,000 features are clustered in under 2 GiB and 40 s; 200,000 also run (--full). The
search in a subspace is 2 (3) times faster than the search without it, and on random features of
full rank, for which it is not used, at most 1.1 times slower.

Both are measured in turns with the plain form, find the same, and are compared by CPU time.
"""

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

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

PLAIN_TO = 30_000  # features up to which the plain form is timed


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

    def without() -> torch.Tensor:
        with patch.object(neighbours, "SMALLEST", size + 1):  # too few for a subspace
            return search()

    versions = {"without subspace": without, "search": search}
    if size <= PLAIN_TO:
        versions |= {
            "plain": partial(reference.nearest_neighbours, features, 20),
            "product": partial(product, features)
        }
    found, times = alternate(versions, rounds)
    if not all(torch.equal(rank, found[name]) for name in versions if name != "product"):
        raise AssertionError("the searches differ")
    cpu = {name: [each.cpu for each in own] for name, own in times.items()}
    faster = median(a / b for a, b in zip(cpu["without subspace"], cpu["search"], strict=True))
    return {
        "features": size, "plain": None, "product": None,
        **{name: median(own) for name, own in cpu.items()}, "faster": faster, "rest": rest.cpu,
        "wall s": ours.wall + rest.wall, "imported MiB": imported, "peak MiB": peak,
        "source": source, "density": describe(features, rank, labels)
    }


def product(features: torch.Tensor) -> None:
    """All scalar products, a block of rows at a time, the results dropped."""
    for block in features.tensor_split(1 + len(features)**2 // 2**25):
        block @ features.T
