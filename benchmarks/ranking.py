"""Claim: metrics of 5,000 x 5,000 features are at least 10 times faster than by a loop of probes.

They must agree to 1e-9, exact ties included. --full: the memory of 100,000 x 100,000.
"""

from functools import partial
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from benchmarks import harness
from benchmarks.harness import Options, Report, alternate, compare
from skeleton_reid.reid import ranking
from tests.reference import ranking as reference

PERSONS = 164
WHOLE, ALONE = "features to metrics", "distances to metrics"


def run(options: Options) -> Report:
    size = 400 if options.quick else 5000
    sets = random_sets(size, size)
    probe, probe_ids, gallery, gallery_ids = sets
    distances = cdist(probe, gallery)
    ids = (probe_ids, gallery_ids)
    results, times = alternate(
        {
            f"{WHOLE}, loop": partial(reference.evaluate, *sets), f"{WHOLE}, reid.ranking": partial(
                ranking.evaluate, *sets)
        }, options.rounds)
    alone, times_alone = alternate(
        {
            f"{ALONE}, loop": partial(reference.evaluate_distances, distances, *ids),
            f"{ALONE}, reid.ranking": partial(ranking.evaluate_distances, distances, *ids)
        }, options.rounds)
    expected = results[f"{WHOLE}, loop"]
    for name, metrics in {**results, **alone}.items():
        error = max(abs(metrics[key] - expected[key]) for key in expected)
        if error > 1e-9:
            raise AssertionError(f"{name}: metrics differ by {error:.1e}")
    report = Report(f"Top-k and mAP of {size:,} x {size:,} random features of 256 numbers")
    report.rows = compare(times, f"{WHOLE}, loop") + compare(times_alone, f"{ALONE}, loop")
    metrics = ", ".join(f"{key} {100 * value:.1f}" for key, value in expected.items())
    report.notes = [
        f"a tenth of the gallery rows are copies of others; metrics equal to 1e-9 ({metrics})",
        "loop: scipy's cdist, then a sort and scikit-learn's average precision for each probe"
    ]
    row = report.rows[1]
    report.require("at least 10 times faster", min(row["wall ratio"], row["cpu ratio"]) >= 10)
    if options.full:
        large = harness.in_new_process(measure, 2000 if options.quick else 100_000)
        report.numbers = large
        report.notes.append(
            f"{large['size']:,} x {large['size']:,} in a process of its own: "
            f"{large['wall s']:.0f} s ({large['cpu s']:.0f} CPU s), peak {large['peak MiB']:,.0f} "
            f"MiB, of which {large['held MiB']:,.0f} before the ranking began")
        report.require("under 8 GiB for 100,000 x 100,000", large["peak MiB"] < 8 * 1024)
    return report


def random_sets(probes: int, gallery: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Random probe and gallery features (float32) with person labels.

    A tenth of the gallery are copies under the label of their place: ties of right and wrong ones.
    """
    rng = np.random.RandomState(seed)
    centres = rng.normal(size=(PERSONS, 256)).astype(np.float32)
    sets = []
    for size in (probes, gallery):
        ids = np.arange(size) % PERSONS
        rng.shuffle(ids)
        sets += [centres[ids] + 4 * rng.standard_normal((size, 256)).astype(np.float32), ids]
    copies, sources = rng.permutation(gallery)[:gallery // 10 * 2].reshape(2, -1)
    sets[2][copies] = sets[2][sources]
    return tuple(sets)


def measure(size: int) -> dict[str, Any]:
    """Rank size x size features in this process, which has done nothing before."""
    sets = random_sets(size, size)
    held = harness.resident_mib()
    seconds = harness.timed(partial(ranking.evaluate, *sets))[1]
    return {
        "size": size, "wall s": seconds.wall, "cpu s": seconds.cpu, "held MiB": held,
        "peak MiB": harness.peak_mib()
    }
