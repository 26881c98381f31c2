"""Claim: among 10,000 persons with 100 windows each a recording is identified in under 50 ms, and
the gallery is loaded in under 2 s.

A recording is enrolled by the mean feature of its windows, so that one mean is searched for among
10,000; the recording's windows vote among the nearest persons alone. Answers must be the same with
faiss and without.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Options, Report, alternate, compare
from skeleton_reid import Encoder, Gallery, load
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.methods.statistics import StatisticsSettings
from skeleton_reid.models.statistics import Statistics

WINDOWS = 100  # of a recording, half-overlapping
NUMPY, FAISS, WHOLE, LOAD, SAVE = ("search and vote, NumPy", "search and vote, faiss",
                                   "identify, with the encoder", "load", "save")


def run(options: Options) -> Report:
    persons, path = 200 if options.quick else 10_000, options.work / "people.gallery"
    gallery, rng = Gallery(encoder(options.work / "best.pt")), np.random.RandomState(0)
    size = gallery.encoder.size
    for person in range(persons):
        gallery.add_features(f"person {person}", recording(rng.normal(size=size), rng))
    gallery.save(path)
    sought = persons // 2
    windows = recording(gallery.features[sought], rng)
    frames = rng.normal(size=(3 * WINDOWS + 3, 20, 3))

    def search(name: str) -> list:
        gallery.search = name
        return gallery.nearest(windows)

    results, times = alternate(
        {
            NUMPY: partial(search, "torch"), FAISS: partial(search, "faiss"), WHOLE: partial(
                gallery.identify, frames), LOAD: partial(Gallery.load, path), SAVE: partial(
                    gallery.save, path)
        }, max(options.rounds, 5))
    if results[NUMPY] != results[FAISS] or results[NUMPY][0].name != f"person {sought}":
        raise AssertionError(f"answers differ: {results[NUMPY]}, {results[FAISS]}")
    report = Report(f"A gallery of {persons:,} persons, {WINDOWS} windows each, {size} numbers")
    report.rows = compare(times, NUMPY)
    report.notes = [f"the answers are equal; the file has {path.stat().st_size / 2**20:.1f} MiB"]
    seconds = {row["version"]: row["wall s"] for row in report.rows}
    report.require("identification under 50 ms", seconds[WHOLE] < 0.05)
    report.require("loading under 2 s", seconds[LOAD] < 2)
    return report


def encoder(path: Path) -> Encoder:
    """Window statistics as trained on KGBD, with random weights."""
    torch.manual_seed(0)
    model = Statistics(20)
    about = {"method": "statistics", "dataset": "KGBD", "length": 6, "seed": 0}
    about |= {"settings": vars(StatisticsSettings()), "arguments": model.arguments}
    checkpoint.save(path, {**about, "model": model.state_dict()})
    return load(path, "cpu")


def recording(person: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Window features (100, d) of unit length around a person's (d,)."""
    windows = person / np.linalg.norm(person) + rng.normal(scale=0.1, size=(WINDOWS, len(person)))
    return (windows / np.linalg.norm(windows, axis=1, keepdims=True)).astype(np.float32)
