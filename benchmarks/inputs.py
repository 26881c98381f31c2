"""Features and data sets for the benchmarks: those named, else made-up ones that say so."""

from pathlib import Path

import numpy as np

from benchmarks.harness import Options, run_script
from skeleton_reid.engine.features import read


def features(file: Path | None, size: int) -> tuple[np.ndarray, str]:
    """Features (size, d) float32, the first of a feature file, else random; and what they are."""
    if file is None:
        return clustered(size), "random clustered features, as dense as KGBD's"
    x = read(file).features
    if len(x) >= size:
        return x[:size], f"the first {size:,} features of {file.name}"
    return mirrored(x, size), f"the features of {file.name} and mirror images of them"


def mirrored(x: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Features (size, d): x (N, d) and images of it, mirrored along random ones of its principal
    directions. Each has the distances and the covariance of x, and lies elsewhere as others would.
    """
    rng = np.random.RandomState(seed)
    mean = x.mean(axis=0)
    directions = np.linalg.eigh(np.cov(x.T))[1].astype(np.float32)
    along = (x - mean) @ directions
    found = np.empty((size, x.shape[1]), dtype=np.float32)
    for first in range(0, size, len(x)):
        signs = rng.choice([-1, 1], x.shape[1]) if first else 1
        part = found[first:first + len(x)]
        part[:] = ((along * signs) @ directions.T + mean)[:len(part)]
    return found


def clustered(size: int, d: int = 256, seed: int = 0) -> np.ndarray:
    """Random features (size, d) float32 with the density of SimMC's on KGBD after a few epochs.

    Density is what the cost of clustering hangs on. At eps 0.6 and min_samples 4, 6,000 (30,000) of
    these have 47 (49) entries in a row of V, 29 (25) members a cluster and 25 % (27 %) noise;
    KGBD's 41 (45), 26 (20), 12 % (24 %).
    """
    rng = np.random.RandomState(seed)
    inner = 6  # dimensions that the features fill
    clusters = max(1, size // 40)
    centres = rng.normal(size=(clusters, inner))
    share = rng.lognormal(0, 1, clusters)
    spread = 1.2 * clusters**(-1 / inner) * rng.lognormal(0, 0.5, (size, 1))
    points = centres[rng.choice(clusters, size, p=share / share.sum())]
    points = (points + spread * rng.normal(size=(size, inner))).astype(np.float32)
    x = points @ rng.normal(size=(inner, d)).astype(np.float32)
    norm = np.sqrt(np.mean(np.sum(np.square(x), axis=1)))
    return x * np.float32(0.7 / norm)  # as KGBD's features


def simulated_raw(options: Options, persons: int, frames: int) -> Path:
    """The folder of simulated KGBD files with five recordings a person; made once in a run."""
    raw = options.work / f"raw-{persons}-{frames}"
    if not raw.exists():
        print(f"simulating KGBD: {persons} persons, 5 times {frames} frames ...", flush=True)
        sizes = ("--persons", str(persons), "--frames", str(frames), "--recordings", "5")
        run_script("-m", "data.simulate", "--dataset", "KGBD", "--raw", raw, *sizes)
    return raw
