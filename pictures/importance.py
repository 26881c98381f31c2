"""Hi-MPC's hard skeleton mining, frame by frame."""

import numpy as np
import torch
from matplotlib.figure import Figure

from skeleton_reid.models.himpc import LEVELS
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.pictures.figures import (HEIGHT, LISTS, PROBE, TALL, WIDTH, Runs, draw_window,
                                            new_figure)


def importance(runs: Runs) -> Figure:
    """How much Hi-MPC would learn from each frame of some probes at the levels J, P, B (mean over
    the transformations), if the persons of the gallery were the clusters.
    """
    (run,) = runs.values()
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
    size = WIDTH * sets.length, HEIGHT * len(probes)
    figure = new_figure("Importance of frames", runs, 0.9 * size[0] + 2, 0.75 * size[1] + 0.6)
    place = figure.subplots()
    place.set(xlim=(0, size[0]), ylim=(-size[1], 0), aspect="equal")
    place.axis("off")
    for (row, frame), _ in np.ndenumerate(weights[..., 0]):
        words = "\n".join(f"{level} {100 * w:.0f} %"
                          for level, w in zip(LEVELS, weights[row, frame], strict=True))
        draw_window(place, lines[row, frame:frame + 1], WIDTH * frame, -HEIGHT * row, PROBE, words)
    return figure
