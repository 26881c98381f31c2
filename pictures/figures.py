"""Figures of runs, by matplotlib: curves, features, attention, skeletons as stick figures.

`runs`: by the label that tells them apart. Each raises InputError where a run lacks what it draws.
"""

from collections import defaultdict
from collections.abc import Mapping
from itertools import product

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skeleton_reid.common.errors import InputError, collected, raise_collected
from skeleton_reid.engine.results import RETRIEVAL
from skeleton_reid.models.age import locality_mask
from skeleton_reid.pictures.runs import SavedRun

Runs = Mapping[str, SavedRun]
STYLES = ("-", "--", ":", "-.")
COUNTS = ("epoch", "probes", "gallery")  # columns of a history that are no curves
TITLES = {**RETRIEVAL, "s": "seconds"}
RANKS = 20  # at most, of cumulative matching
PERSONS, WINDOWS = 20, 2000  # at most, of t-SNE
RIGHT, WRONG, PROBE, FAINT = "#1a8a3c", "#d0342c", "#222222", "#c8c8c8"
SHOWN, LISTS = 10, 4  # gallery sequences beside a probe; probes
WIDTH, HEIGHT, TALL = 1.2, 2.5, 1.5  # of a skeleton's place, and of the skeleton in it
RELATED, STRONGEST = 64, 3  # probes whose relations are averaged; lines of a node
RATE, LONGEST = 15, 60  # of the animation: frames a second, frames
BONE = "M{:.3f} {:.3f}L{:.3f} {:.3f}"
SVG = """<svg xmlns="http://www.w3.org/2000/svg" height="320"
 viewBox="{low[0]:.3f} {low[1]:.3f} {size[0]:.3f} {size[1]:.3f}">
<path d="{first}" fill="none" stroke="#222222" stroke-width="0.012" stroke-linecap="round">
<animate attributeName="d" dur="{seconds:.1f}s" repeatCount="indefinite" values="{paths}"/></path>
<text x="{low[0]:.3f}" y="{high[1]:.3f}" font-size="0.05" font-family="sans-serif">{words}</text>
</svg>"""


def new_figure(title: str, runs: Runs, width: float, height: float) -> Figure:
    """A figure with a title, its run if it is one, and the data; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    data = "; ".join(dict.fromkeys(run.data_title() for run in runs.values()))
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
    figure.colorbar(dots, ticks=range(count), label="person").set_ticklabels(persons[:count])
    place.set(xticks=[], yticks=[],
              xlabel=f"{len(shown)} windows, {count} of {len(persons)} persons")
    return figure


def attention(runs: Runs) -> Figure:
    """AGE's attention by axis, mean over the test: at which frame (column) each step of the decoder
    (row) looks, beside the locality mask.
    """
    attentive = {label: run for label, run in runs.items() if "attention" in run.content}
    if not attentive:
        raise InputError("no attention in results.json: AGE without it, or training is not done")
    figure = new_figure("Attention of AGE, mean over the test", runs, 13, 1 + 2.9 * len(attentive))
    rows = figure.subplots(len(attentive), 4, squeeze=False)
    alignments = [np.array(run.content["attention"]["alignment"]) for run in attentive.values()]
    # One colour scale for all models and axes, so that they compare; the mask is not normalised.
    tops = [max(matrix.max() for matrix in alignments)] * 3 + [1]
    for places, (label, run), alignment in zip(rows, attentive.items(), alignments, strict=True):
        mask = locality_mask(alignment.shape[1], run.content["settings"]["target"]).numpy()
        names = ("axis x", "axis y", "axis z", "locality mask")
        for place, name, matrix, top in zip(places, names, (*alignment, mask), tops, strict=True):
            image = place.imshow(matrix, vmin=0, vmax=top)
            place.set_title(name, fontsize=10)
            place.set_xlabel("frame")
            figure.colorbar(image, ax=place, fraction=0.046)
        places[0].set_ylabel(f"{label}\ndecoder step", fontsize=9)
    return figure


def ranked_lists(runs: Runs) -> Figure:
    """Probes beside their nearest gallery sequences: green is the right person, red a wrong one."""
    (run,) = runs.values()
    probes = np.linspace(0, len(run.encoded.probe) - 1, LISTS).round().astype(int)
    return draw_lists("Ranked lists", runs, np.unique(probes))


def worst_probes(runs: Runs) -> Figure:
    """The probes whose first right gallery sequence comes last."""
    (run,) = runs.values()
    ranks = np.where(np.isfinite(run.encoded.ranks), run.encoded.ranks, 0)
    return draw_lists("Worst probes", runs, np.argsort(-ranks, kind="stable")[:LISTS])


def draw_lists(title: str, runs: Runs, probes: np.ndarray) -> Figure:
    """Some probes (numbers) beside their nearest gallery sequences."""
    (run,) = runs.values()
    encoded, sets = run.encoded, run.encoded.sets
    parts, ends = (sets.probe, sets.gallery), sets.skeleton.bone_numbers()
    probe, gallery = (part.skeletons[:, :, ends, :2] for part in parts)  # (N, f, bones, ends, 2)
    scale = TALL / np.median(np.ptp(probe[..., 1], axis=(1, 2, 3)))
    shown = min(SHOWN, len(sets.gallery) - sets.same_set)
    width, height = WIDTH * (shown + 1), HEIGHT * len(probes)
    figure = new_figure(title, runs, 0.9 * width, 0.75 * height + 0.6)
    place = figure.subplots()
    place.set(xlim=(0, width), ylim=(-height, 0), aspect="equal")
    place.axis("off")
    for row, number in enumerate(probes):
        person, first, y = sets.probe.labels[number], encoded.ranks[number], -HEIGHT * row
        words = f"probe, person {person}\nfound at rank {first:.0f}"
        draw_window(place, probe[number] * scale, 0, y, PROBE, words)
        distances = (encoded.gallery - encoded.probe[number]).norm(dim=1)
        if sets.same_set:
            distances[number] = torch.inf
        for column, other in enumerate(distances.argsort(stable=True)[:shown].tolist(), start=1):
            own = sets.gallery.labels[other]
            color, mark = (RIGHT, "✓") if own == person else (WRONG, "✗")
            words = f"{mark} person {own}\ndistance {distances[other]:.3g}"
            draw_window(place, gallery[other] * scale, WIDTH * column, y, color, words)
    return figure


def draw_window(place: Axes, window: np.ndarray, x: float, y: float, color: str,
                words: str) -> None:
    """A window (f, bones, ends, 2) right below (x, y): its middle frame, the others faintly."""
    foot = np.array([window[..., 0].mean(), window[..., 1].min()])
    lines = window - foot + [x + WIDTH / 2, y - HEIGHT + 0.1]
    faint = lines.reshape(-1, 2, 2)  # (f bones, ends, 2)
    place.add_collection(LineCollection(faint, colors=color, alpha=0.15, linewidths=1))
    place.add_collection(LineCollection(lines[len(lines) // 2], colors=color, linewidths=1.4))
    place.text(x + WIDTH / 2, y - 0.12, words, color=color, fontsize=8, ha="center", va="top")


def relations(runs: Runs) -> Figure:
    """SM-SGE's structural and collaborative relations, mean over probes, heads and frames: for each
    node (small) of a scale those from which it takes most (large), the darker the more.
    """
    (run,) = runs.values()
    model, sets = run.encoded.model, run.encoded.sets
    probes = sets.probe.skeletons[::-(-len(sets.probe) // RELATED)]
    graphs = model.graphs(torch.from_numpy(probes).to(next(model.parameters()).device))
    with torch.no_grad():
        structural, collaborative = model.relations(graphs)
    middle, count = sets.length // 2, len(model.scales)
    nodes = {scale: x[0, middle, :, :2].cpu().numpy() for scale, x in graphs.items()}
    panels = defaultdict(list)
    for scale, A in structural.items():
        panels[scale].append(("structural", scale, A.mean(dim=(0, 1, 2)), PROBE))
    for (source, target), A in collaborative.items():
        panels[source].append(("collaborative", target, A.mean(dim=(0, 1)), RIGHT))
    figure = new_figure("Relations", runs, 2.3 * (count + 1), 1 + 3 * count)
    rows = figure.subplots(count, count + 1, squeeze=False)
    for row, source in zip(rows, model.scales, strict=True):
        for place, (kind, target, weights, color) in zip(row, panels[source], strict=False):
            skeleton = probes[0, middle, sets.skeleton.bone_numbers(), :2]
            place.add_collection(LineCollection(skeleton, colors=FAINT, zorder=0))
            draw_relation(place, nodes[source], nodes[target], weights.cpu().numpy(), color)
            place.set_title(f"{kind}, {source} from {target}", fontsize=9)
        for place in row:
            place.axis("off")
    return figure


def draw_relation(place: Axes, source: np.ndarray, target: np.ndarray, weights: np.ndarray,
                  color: str) -> None:
    """Lines from nodes (n, 2) to those (m, 2) of the largest weights (n, m), these the darkest."""
    ends = np.stack(np.broadcast_arrays(source[:, None], target[None]), axis=2)  # (n, m, 2, 2)
    weights = weights * np.any(source[:, None] != target, axis=2)  # none of a node with itself
    weights = weights * (weights >= np.sort(weights, axis=1)[:, -STRONGEST:][:, :1])
    alpha = (weights / weights.max()).ravel()
    lines = LineCollection(ends.reshape(-1, 2, 2), colors=color, alpha=alpha, linewidths=1.5)
    place.add_collection(lines)
    place.scatter(*target.T, s=40, color=color, linewidths=0)
    place.scatter(*source.T, s=12, color=color, linewidths=0)
    place.set_aspect("equal")


def walk(runs: Runs) -> str:
    """A walking sequence, from the front and from the side: the recording of the first probe."""
    run = next(iter(runs.values()))
    probe, ends = run.encoded.sets.probe, run.encoded.sets.skeleton.bone_numbers()
    groups = probe.labels if probe.recordings is None else probe.recordings
    frames = np.concatenate(probe.skeletons[groups == groups[0]])[:LONGEST]
    frames = frames / np.ptp(frames[..., 1])  # (T, J, 3), 1 high
    views = np.stack([frames[..., :2], frames[..., 2:0:-1] + (1, 0)], axis=1) * (1, -1)
    lines = views[:, :, ends]  # (T, views, bones, ends, 2)
    low, high = lines.min(axis=(0, 1, 2, 3)) - 0.05, lines.max(axis=(0, 1, 2, 3)) + 0.05
    paths = [" ".join(BONE.format(*bone) for bone in each.reshape(-1, 4)) for each in lines]
    words = f"person {probe.labels[0]}: {run.data_title()}"
    return SVG.format(low=low, size=high - low + (0, 0.1), high=high, first=paths[0],
                      paths=";".join(paths), seconds=len(frames) / RATE, words=words)
