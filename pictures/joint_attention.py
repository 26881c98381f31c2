"""The attention of TranSG and MoCos, drawn on the skeleton."""

import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from skeleton_reid.models.mocos import MoCos
from skeleton_reid.pictures.figures import (FAINT, PROBE, RELATED, RIGHT, Runs, draw_relation,
                                            new_figure)

MOTIFS = {1: "one bone", 2: "two bones", 3: "three bones", 4: "arms", 5: "legs"}  # by head


def joint_attention(runs: Runs) -> Figure:
    """The attention of TranSG or MoCos, mean over probes and frames: for each joint those that it
    attends to most, the darker the more, by layer (rows) and head. Heads with a motif are green.
    """
    (run,) = runs.values()
    model, sets = run.encoded.model, run.encoded.sets
    probes = sets.probe.skeletons[::-(-len(sets.probe) // RELATED)]
    with torch.no_grad():
        x, _, weights = model.relate(torch.from_numpy(probes).to(model.positions.device))
    layers = [a.mean(dim=(0, 1)).cpu().numpy() for a in weights]  # (heads, n, n) each
    middle, (count, heads) = sets.length // 2, (len(layers), len(layers[0]))
    nodes = x[0, middle, :, :2].cpu().numpy()
    skeleton = probes[0, middle, sets.skeleton.bone_numbers(), :2]
    named = MOTIFS if isinstance(model, MoCos) else {}
    figure = new_figure("Attention of joints", runs, 2 * heads, 1 + 2.7 * count)
    for row, layer in zip(figure.subplots(count, heads, squeeze=False), layers, strict=True):
        for head, (place, a) in enumerate(zip(row, layer, strict=True)):
            place.add_collection(LineCollection(skeleton, colors=FAINT, zorder=0))
            draw_relation(place, nodes, nodes, a, RIGHT if head in named else PROBE)
            place.set_title(f"head {head}" + (f": {named[head]}" if head in named else ""),
                            fontsize=9)
            place.axis("off")
    return figure
