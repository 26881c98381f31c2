"""Figures of runs, by matplotlib: curves, features, attention.

`runs` are runs by the label that tells them apart. A figure says on what data it was made. Each
raises InputError where a run lacks what it draws.
"""

from collections import defaultdict
from collections.abc import Mapping
from itertools import product

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from common.errors import InputError, collected, raise_collected
from engine.results import RETRIEVAL
from models.age import locality_mask
from tools.runs import SavedRun

Runs = Mapping[str, SavedRun]
STYLES = ("-", "--", ":", "-.")
COUNTS = ("epoch", "probes", "gallery")  # columns of a history that are no curves
TITLES = {**RETRIEVAL, "s": "seconds"}
RANKS = 20  # at most, of cumulative matching
PERSONS, WINDOWS = 20, 2000  # at most, of t-SNE


def new_figure(title: str, runs: Runs, width: float, height: float) -> Figure:
    """A figure with a title, its run if it is one, and the data; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    data = "; ".join(dict.fromkeys(run.data_title for run in runs.values()))
    names = [title, *runs] if len(runs) == 1 else [title]
    figure.suptitle(f"{': '.join(names)}\n{data}", fontsize=11)
    return figure


def training(runs: Runs) -> Figure:
    """Every figure by epoch. Those of one name (axes, clusterings, tests) share a panel; of several
    runs, a sum stands without its parts.
    """
    columns = dict.fromkeys((phase, name) for run in runs.values()
                            for phase, table in run.histories.items() for name in table.dtype.names)
    panels = defaultdict(list)
    for phase, name in columns:
        if name not in COUNTS:
            panels[phase, name.partition("_")[0]].append(name)
    if not panels:
        raise InputError("no history.csv")
    rows, several = -(-len(panels) // 4), len(runs) > 1
    figure = new_figure("Training", runs, 13, 1.2 + 2.1 * rows)
    places = figure.subplots(rows, 4, squeeze=False).ravel()
    for place, ((phase, kind), names) in zip(places, panels.items(), strict=False):
        names = [kind] if several and kind in names else names
        legend: dict[str, Line2D] = {}
        for (r, run), (c, name) in product(enumerate(runs.values()), enumerate(names)):
            table = run.histories.get(phase)
            if table is not None and name in table.dtype.names:
                known = table[~np.isnan(table[name])]
                (line,) = place.plot(known["epoch"], known[name], STYLES[c % 4], marker=".",
                                     markersize=3, color=f"C{r if several else c}")
                legend.setdefault(name, line)
        low, high = place.dataLim.intervaly
        if 0 < 100 * low < high:  # a loss whose first epochs would hide the others
            place.set_yscale("log")
        place.set_title(f"{phase} {TITLES.get(kind, kind)}", fontsize=10)
        if len(names) > 1:
            place.legend(legend.values(), legend, fontsize=7)
    for place in places[len(panels):]:
        place.remove()
    if several:
        lines = [Line2D([], [], color=f"C{r}") for r in range(len(runs))]
        figure.legend(lines, runs, loc="outside lower center", ncols=2)
    return figure


def cmc(runs: Runs) -> Figure:
    """Cumulative matching: the share of probes whose person is among the k nearest, or among the k
    that a recogniser finds most probable.
    """
    curve: dict[str, np.ndarray] = {}
    errors: list[InputError] = []
    for label, run in runs.items():
        with collected(errors):
            ranks, gallery = run.encoded.ranks, run.encoded.gallery
            k = np.arange(1, min(len(gallery), RANKS) + 1)
            curve[label] = (ranks[:, None] <= k).mean(axis=0)
        for test, row in run.content.get("tests", {}).items():
            shares = list(row["best"]["rank"].values())[:RANKS]
            curve[f"{label}, recogniser, {test}"] = np.array(shares)
    if not curve:
        raise_collected(errors)
    figure = new_figure("Cumulative matching", runs, 8, 4.5)
    place = figure.subplots()
    for label, shares in curve.items():
        words = f"{label}: {100 * shares[0]:.1f} at rank 1"
        place.plot(np.arange(1, len(shares) + 1), 100 * shares, marker=".", label=words)
    place.set(xlabel="rank", ylabel="probes matched (%)", ylim=(0, 102))
    place.locator_params(axis="x", integer=True)
    place.grid(alpha=0.3)
    place.legend(fontsize=8)
    return figure


def tsne(runs: Runs) -> Figure:
    """Features in two dimensions, by person: circles are probes, triangles gallery."""
    from sklearn.manifold import TSNE  # slow to import

    (run,) = runs.values()
    parts = run.encoded.sets.probe, run.encoded.sets.gallery
    features = torch.cat([run.encoded.probe, run.encoded.gallery]).numpy()
    labels = np.concatenate([part.labels for part in parts])
    persons, numbers = np.unique(labels, return_inverse=True)
    shown = np.flatnonzero(numbers < PERSONS)
    shown = shown[::-(-len(shown) // WINDOWS)]
    model = TSNE(perplexity=min(30, (len(shown) - 1) / 3), max_iter=500, random_state=0)
    points = model.fit_transform(features[shown])  # (n, 2)
    figure = new_figure("Features by t-SNE", runs, 8.5, 6.5)
    place, count = figure.subplots(), min(PERSONS, len(persons))
    for marker, own in (("o", shown < len(parts[0])), ("^", shown >= len(parts[0]))):
        dots = place.scatter(*points[own].T, c=numbers[shown][own], s=16, marker=marker, alpha=0.75,
                             linewidths=0, cmap=matplotlib.colormaps["tab20"].resampled(count),
                             vmin=-0.5, vmax=count - 0.5)
    bar = figure.colorbar(dots, ticks=range(count), label="person")
    bar.set_ticklabels(persons[:count])
    place.set(xticks=[], yticks=[],
              xlabel=f"{len(shown)} windows, {count} of {len(persons)} persons")
    return figure


def attention(runs: Runs) -> Figure:
    """AGE's attention by axis, mean over the test: at which frame (column) each step of the decoder
    (row) looks, beside the locality mask.
    """
    found = {label: run for label, run in runs.items() if "attention" in run.content}
    if not found:
        raise InputError("no attention in results.json: AGE without it, or training is not done")
    figure = new_figure("Attention of AGE, mean over the test", runs, 13, 1 + 2.9 * len(found))
    rows = figure.subplots(len(found), 4, squeeze=False)
    alignments = [np.array(run.content["attention"]["alignment"]) for run in found.values()]
    # One colour scale for all models and axes, so that they compare; the mask is not normalised.
    tops = [max(matrix.max() for matrix in alignments)] * 3 + [1]
    for places, (label, run), alignment in zip(rows, found.items(), alignments, strict=True):
        mask = locality_mask(alignment.shape[1], run.content["settings"]["target"]).numpy()
        names = ("axis x", "axis y", "axis z", "locality mask")
        for place, name, matrix, top in zip(places, names, (*alignment, mask), tops, strict=True):
            image = place.imshow(matrix, vmin=0, vmax=top)
            place.set_title(name, fontsize=10)
            place.set_xlabel("frame")
            figure.colorbar(image, ax=place, fraction=0.046)
        places[0].set_ylabel(f"{label}\ndecoder step", fontsize=9)
    return figure
