"""Claim: 30,000 features are clustered in under 2 GiB and 40 s; 200,000 also run (--full).

The exact neighbour search sets the floor: it computes all N x N distances, whose bare matrix
product is timed too.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import inputs
from benchmarks.harness import Options, Report, in_new_process, peak_mib, resident_mib, timed
from benchmarks.jaccard import EPS, MIN_SAMPLES, describe
from benchmarks.million import bare_product
from skeleton_reid.reid.jaccard import cluster
from skeleton_reid.reid.neighbours import nearest_neighbours


def run(options: Options) -> Report:
    size = 2000 if options.quick else 30_000
    report = Report("Clustering many features of 256 numbers: seconds, peak memory of the process")
    measured = [in_new_process(measure, options.features, size)]
    if options.full:
        measured.append(in_new_process(measure, None, 4000 if options.quick else 200_000))
    for row in measured:
        report.notes.append(f"{row['features']:,}: {row.pop('source')}; {row.pop('density')}")
        report.rows.append(row)
    first = measured[0]
    report.notes.append(
        "imported: memory before there are features; shares: of search and rest together, wall")
    report.require("under 2 GiB", first["peak MiB"] < 2048)
    report.require("under 40 s", first["search s"] + first["rest s"] < 40)
    return report


def measure(file: Path | None, size: int) -> dict[str, Any]:
    """Cluster in this process, which has done nothing before. Returns a row of the table."""
    cluster(inputs.clustered(100), EPS, MIN_SAMPLES)  # compiles
    imported = resident_mib()
    x, source = inputs.features(file, size)
    features = torch.from_numpy(x)
    rank, search = timed(partial(nearest_neighbours, features, 20))
    labels, rest = timed(partial(cluster, features, EPS, MIN_SAMPLES, rank=rank))
    peak = peak_mib()
    product = timed(partial(bare_product, features))[1]
    total = search.wall + rest.wall
    return {
        "features": size, "product s": product.wall, "search s": search.wall, "rest s": rest.wall,
        "cpu s": search.cpu + rest.cpu, "search share": search.wall / total,
        "product share": product.wall / total, "imported MiB": imported, "peak MiB": peak,
        "source": source, "density": describe(features, rank, labels)
    }
