"""Skeletons as stick figures, by matplotlib: ranked lists, and relations between joints.

Of a group of runs the first is drawn. InputError where it lacks what is drawn.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from skeleton_reid.models.himpc import LEVELS
from skeleton_reid.models.mocos import MoCos
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.models.smsge import relation
from skeleton_reid.pictures.comparison import Group

RIGHT, WRONG, PROBE, FAINT = "#1a8a3c", "#d0342c", "#222222", "#c8c8c8"
SHOWN, LISTS = 10, 4  # gallery sequences beside a probe; probes
WIDTH, HEIGHT, TALL = 1.2, 2.5, 1.5  # of a skeleton's place, and of the skeleton in it
MOTIFS = {1: "one bone", 2: "two bones", 3: "three bones", 4: "arms", 5: "legs"}  # MoCos's heads
RELATED, STRONGEST = 64, 3  # probes whose relations are averaged; lines of a node


def new_figure(title: str, groups: Sequence[Group], width: float, height: float) -> Figure:
    """A figure with a title, the run and the data; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    figure.suptitle(f"{title}: {groups[0].label}\n{groups[0].runs[0].data_title()}", fontsize=11)
    return figure


def lists(title: str, groups: Sequence[Group], columns: int, rows: int) -> tuple[Figure, Axes]:
    """A figure with places for windows, by WIDTH and HEIGHT, right and down from (0, 0)."""
    width, height = WIDTH * columns, HEIGHT * rows
    figure = new_figure(title, groups, 0.9 * width, 0.75 * height + 0.6)
    place = figure.subplots()
    place.set(xlim=(0, width), ylim=(-height, 0), aspect="equal")
    place.axis("off")
    return figure, place


def ranked_lists(groups: Sequence[Group]) -> Figure:
    """Probes beside their nearest gallery sequences: green is the right person, red a wrong one."""
    run = groups[0].runs[0]
    probes = np.linspace(0, len(run.encoded.probe) - 1, LISTS).round().astype(int)
    return draw_lists("Ranked lists", groups, np.unique(probes))


def worst_probes(groups: Sequence[Group]) -> Figure:
    """The probes whose first right gallery sequence comes last."""
    run = groups[0].runs[0]
    ranks = np.where(np.isfinite(run.encoded.ranks), run.encoded.ranks, 0)
    return draw_lists("Worst probes", groups, np.argsort(-ranks, kind="stable")[:LISTS])


def draw_lists(title: str, groups: Sequence[Group], probes: np.ndarray) -> Figure:
    """Some probes (numbers) beside their nearest gallery sequences."""
    run = groups[0].runs[0]
    encoded, sets = run.encoded, run.encoded.sets
    parts, ends = (sets.probe, sets.gallery), sets.skeleton.bone_numbers()
    probe, gallery = (part.skeletons[:, :, ends, :2] for part in parts)  # (N, f, bones, ends, 2)
    scale = TALL / np.median(np.ptp(probe[..., 1], axis=(1, 2, 3)))
    shown = min(SHOWN, len(sets.gallery) - sets.same_set)
    figure, place = lists(title, groups, shown + 1, len(probes))
    for row, number in enumerate(probes):
        person, first, y = sets.probe.labels[number], encoded.ranks[number], -HEIGHT * row
        words = f"probe, {run.person(person)}\nfound at rank {first:.0f}"
        draw_window(place, probe[number] * scale, 0, y, PROBE, words)
        distances = (encoded.gallery - encoded.probe[number]).norm(dim=1)
        if sets.same_set:
            distances[number] = torch.inf
        for column, other in enumerate(distances.argsort(stable=True)[:shown].tolist(), start=1):
            own = sets.gallery.labels[other]
            color, mark = (RIGHT, "✓") if own == person else (WRONG, "✗")
            words = f"{mark} {run.person(own)}\ndistance {distances[other]:.3g}"
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


def relations(groups: Sequence[Group]) -> Figure:
    """SM-SGE's structural and collaborative relations, mean over probes, heads and frames: for each
    node (small) of a scale those from which it takes most (large), the darker the more.
    """
    run = groups[0].runs[0]
    model, sets = run.encoded.model, run.encoded.sets
    probes = sets.probe.skeletons[::-(-len(sets.probe) // RELATED)]
    graphs = model.graphs(torch.from_numpy(probes).to(next(model.parameters()).device))
    layers = {} if model.embedding_only else model.structure
    with torch.no_grad():
        H = model.structural(graphs)
        structural = {scale: layer.dense(graphs[scale])[1] for scale, layer in layers.items()}
        collaborative = {
            pair: relation(H[pair[0]], H[pair[1]]) for pair in model.pairs if not model.struct_only
        }
    middle, count = sets.length // 2, len(model.scales)
    nodes = {scale: x[0, middle, :, :2].cpu().numpy() for scale, x in graphs.items()}
    skeleton = probes[0, middle, sets.skeleton.bone_numbers(), :2]
    panels = defaultdict(list)
    for scale, A in structural.items():
        panels[scale].append(("structural", scale, A.mean(dim=(0, 1, 2)), PROBE))
    for (source, target), A in collaborative.items():
        panels[source].append(("collaborative", target, A.mean(dim=(0, 1)), RIGHT))
    figure = new_figure("Relations", groups, 2.3 * (count + 1), 1 + 3 * count)
    rows = figure.subplots(count, count + 1, squeeze=False)
    for row, source in zip(rows, model.scales, strict=True):
        for place, (kind, target, weights, color) in zip(row, panels[source], strict=False):
            draw_relation(place, nodes[source], nodes[target],
                          weights.cpu().numpy(), color, skeleton, f"{kind}, {source} from {target}")
        for place in row[len(panels[source]):]:
            place.remove()
    return figure


def draw_relation(place: Axes, source: np.ndarray, target: np.ndarray, weights: np.ndarray,
                  color: str, skeleton: np.ndarray, title: str) -> None:
    """Lines from nodes (n, 2) to those (m, 2) of the largest weights (n, m), these the darkest, on
    the bones of a skeleton (bones, ends, 2).
    """
    place.add_collection(LineCollection(skeleton, colors=FAINT, zorder=0))
    ends = np.stack(np.broadcast_arrays(source[:, None], target[None]), axis=2)  # (n, m, 2, 2)
    weights = weights * np.any(source[:, None] != target, axis=2)  # none of a node with itself
    weights = weights * (weights >= np.sort(weights, axis=1)[:, -STRONGEST:][:, :1])
    alpha = (weights / weights.max()).ravel()
    lines = LineCollection(ends.reshape(-1, 2, 2), colors=color, alpha=alpha, linewidths=1.5)
    place.add_collection(lines)
    place.scatter(*target.T, s=40, color=color, linewidths=0, clip_on=False)
    place.scatter(*source.T, s=12, color=color, linewidths=0, clip_on=False)
    place.set_title(title, fontsize=9)
    place.set_aspect("equal")
    place.axis("off")


def joint_attention(groups: Sequence[Group]) -> Figure:
    """The attention of TranSG or MoCos, mean over probes and frames: for each joint those that it
    attends to most, the darker the more, by layer (rows) and head. Heads with a motif are green.
    """
    run = groups[0].runs[0]
    model, sets = run.encoded.model, run.encoded.sets
    probes = sets.probe.skeletons[::-(-len(sets.probe) // RELATED)]
    with torch.no_grad():
        x, _, weights = model.relate(torch.from_numpy(probes).to(model.positions.device))
    layers = [a.mean(dim=(0, 1)).cpu().numpy() for a in weights]  # (heads, n, n) each
    middle, (count, heads) = sets.length // 2, (len(layers), len(layers[0]))
    nodes = x[0, middle, :, :2].cpu().numpy()
    skeleton = probes[0, middle, sets.skeleton.bone_numbers(), :2]
    named = MOTIFS if isinstance(model, MoCos) else {}
    figure = new_figure("Attention of joints", groups, 2 * heads, 1 + 2.7 * count)
    for (layer, head), place in np.ndenumerate(figure.subplots(count, heads, squeeze=False)):
        color, motif = (RIGHT, f": {named[head]}") if head in named else (PROBE, "")
        title = f"layer {layer}, head {head}{motif}"
        draw_relation(place, nodes, nodes, layers[layer][head], color, skeleton, title)
    return figure


def importance(groups: Sequence[Group]) -> Figure:
    """How much Hi-MPC would learn from each frame of some probes at the levels J, P, B (mean over
    the transformations), if the persons of the gallery were the clusters.
    """
    run = groups[0].runs[0]
    model, sets = run.encoded.model, run.encoded.sets
    device, count = next(model.parameters()).device, len(sets.gallery)
    gallery = sets.gallery.take(np.arange(0, count, -(-count // 2000)))
    persons, clusters = np.unique(gallery.labels, return_inverse=True)
    known = np.flatnonzero(np.isin(sets.probe.labels, persons))
    probes = np.unique(known[np.linspace(0, len(known) - 1, LISTS).round().astype(int)])
    shown = sets.probe.take(probes)
    own = torch.from_numpy(np.searchsorted(persons, shown.labels)).to(device)
    with torch.no_grad():
        u = model.encode(torch.from_numpy(gallery.skeletons).to(device)).values()
        clusters = torch.from_numpy(clusters).to(device)
        prototypes = [mean_of_clusters(v.mean(dim=1), clusters) for v in u]
        contrasts = model.contrasts(
            torch.from_numpy(shown.skeletons).to(device), own.expand(len(LEVELS), -1), prototypes)
    weights = torch.stack([w.mean(dim=0) for _, w in contrasts.values()], dim=2).cpu()
    lines = shown.skeletons[:, :, sets.skeleton.bone_numbers(), :2]  # (probes, f, bones, ends, 2)
    lines = lines * TALL / np.median(np.ptp(lines[..., 1], axis=(1, 2, 3)))
    figure, place = lists("Importance of frames", groups, sets.length, len(probes))
    for (row, frame), _ in np.ndenumerate(weights[..., 0]):
        words = "\n".join(f"{level} {100 * w:.0f} %"
                          for level, w in zip(LEVELS, weights[row, frame], strict=True))
        draw_window(place, lines[row, frame:frame + 1], WIDTH * frame, -HEIGHT * row, PROBE, words)
    return figure
