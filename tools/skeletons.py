"""Skeletons as stick figures: ranked lists, relations of SM-SGE, a walking sequence.

Arguments and errors as in tools.figures. Skeletons are seen from the front: x to the right, y up.
"""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from data.skeleton import Skeleton, adjacency
from tools.figures import Runs, new_figure

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


def bones(joints: int | Skeleton) -> np.ndarray:
    """The joints at the ends of each bone (bones, 2); joints: as of data.skeleton.get."""
    return np.argwhere(np.triu(adjacency("J", joints)))


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
    parts, ends = (sets.probe, sets.gallery), bones(sets.skeleton)
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
    """The bones of a window (f, bones, ends, 2) in the place whose upper left corner is (x, y): the
    middle frame, and the others faintly.
    """
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
        out = model(graphs)
    middle, count = sets.length // 2, len(model.scales)
    nodes = {scale: x[0, middle, :, :2].cpu().numpy() for scale, x in graphs.items()}
    attention = {scale: A.mean(dim=(0, 1, 2)) for scale, A in out["attention"].items()}
    panels = {s: [("structural", s, s, A, PROBE)] for s, A in attention.items()}
    for source, target in [] if model.struct_only else model.pairs:
        weights = out["relations"][source + target].mean(dim=(0, 1))
        panels[source].append(("collaborative", source, target, weights, RIGHT))
    figure = new_figure("Relations", runs, 2.3 * (count + 1), 1 + 3 * count)
    for row, own in zip(figure.subplots(count, count + 1, squeeze=False), panels.values(),
                        strict=True):
        for place, (kind, source, target, weights, color) in zip(row, own, strict=False):
            skeleton = probes[0, middle, bones(sets.skeleton), :2]
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
    probe, ends = run.encoded.sets.probe, bones(run.encoded.sets.skeleton)
    groups = probe.labels if probe.recordings is None else probe.recordings
    frames = np.concatenate(probe.skeletons[groups == groups[0]])[:LONGEST]
    frames = frames / np.ptp(frames[..., 1])  # (T, J, 3), 1 high
    views = np.stack([frames[..., :2], frames[..., 2:0:-1] + (1, 0)], axis=1) * (1, -1)
    lines = views[:, :, ends]  # (T, views, bones, ends, 2)
    low, high = lines.min(axis=(0, 1, 2, 3)) - 0.05, lines.max(axis=(0, 1, 2, 3)) + 0.05
    paths = [" ".join(BONE.format(*bone) for bone in each.reshape(-1, 4)) for each in lines]
    words = f"person {probe.labels[0]}: {run.data_title}"
    return SVG.format(low=low, size=high - low + (0, 0.1), high=high, first=paths[0],
                      paths=";".join(paths), seconds=len(frames) / RATE, words=words)
