"""Plots of runs for Plotly, as dicts of traces and layout: curves, points, matrices, a walker."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.colors import to_hex

from skeleton_reid.common.errors import InputError, collected, raise_collected
from skeleton_reid.engine.results import RETRIEVAL
from skeleton_reid.models.age import locality_mask
from skeleton_reid.pictures.comparison import Group

Plot = dict[str, Any]
COLORS = [to_hex(color) for color in matplotlib.colormaps["tab10"].colors]  # of groups of runs
OF_PERSONS = [to_hex(color)
              for color in matplotlib.colormaps["tab20"].colors]  # 20, so many at most
COUNTS = ("epoch", "probes", "gallery")  # columns of a history that are no curves
TITLES = {**RETRIEVAL, "recording": "whole recordings", "s": "time"}
SHARES = ("top1", "top5", "top10", "mAP", "recording", "purity", "rank1")
UNITS = {"s": "seconds", "clusters": "clusters", "MI": "nats", "AMI": "AMI"}
UNITS |= dict.fromkeys(("outliers", "noise", "size", "largest"), "windows")
RANKS = 20  # at most, of cumulative matching
WINDOWS = 2000  # at most, of t-SNE
RATE, LONGEST = 15, 60  # of the walker: frames a second, frames


def plot(title: str, x: str, y: str, traces: Sequence[Mapping], **axis: Any) -> Plot:
    """A plot with the titles of its axes. axis: more of the vertical one."""
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, **axis}}
    return {"data": list(traces), "layout": {"title": {"text": title}, **axes}}


def curve(name: str, x: np.ndarray, rows: Sequence[np.ndarray], group: int,
          color: int) -> list[dict[str, Any]]:
    """The mean over runs (rows of y) with a band of one standard deviation, up to the end of the
    shortest. color: its number.
    """
    length = min(map(len, rows))
    y = np.stack([row[:length] for row in rows])
    known = ~np.isnan(y).any(axis=0)
    x, y, color = x[:length][known], y[:, known], COLORS[color % len(COLORS)]
    own = {"meta": group, "name": name, "legendgroup": name}
    traces = [{
        **own, "x": x.tolist(), "y": y.mean(axis=0).tolist(), "line": {"color": color},
        "mode": "lines+markers", "marker": {"size": 4}
    }]  # fmt: skip
    if len(y) > 1:
        low, high = y.mean(axis=0) + np.outer((-1, 1), y.std(axis=0, ddof=1))
        traces.append({
            **own, "x": [*x.tolist(), *x[::-1].tolist()], "fill": "toself",
            "y": [*high.tolist(), *low[::-1].tolist()], "fillcolor": f"{color}33", "mode": "none",
            "hoverinfo": "skip", "showlegend": False
        })  # fmt: skip
    return traces


def training(groups: Sequence[Group]) -> list[Plot]:
    """Every metric by epoch; of several seeds the mean and a band of one standard deviation. Those
    of one name (axes, clusterings, tests) share a plot; of several methods each has one curve.
    """
    columns: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for run in (run for _, runs in groups for run in runs):
        for phase, table in run.histories.items():
            for name in table.dtype.names:
                if name not in COUNTS and np.nan_to_num(table[name]).any():
                    columns[phase, name.partition("_")[0]][name] = None
    if not columns:
        raise InputError("no history.csv")
    several, plots = len(groups) > 1, []
    for (phase, kind), names in columns.items():
        if several and kind == "s":
            continue
        if several:  # a sum without its parts, or the first
            names = [kind] if kind in names else [*names][:1]
        traces = []
        for c, name in enumerate(names):
            for g, (label, runs) in enumerate(groups):
                tables = [run.histories.get(phase) for run in runs]
                if all(table is not None and name in table.dtype.names for table in tables):
                    rows = [table[name] * (100 if kind in SHARES else 1) for table in tables]
                    words, color = (label, g) if several else (name, c)
                    traces += curve(words, tables[0]["epoch"], rows, g, color)
        values = np.concatenate([trace["y"] for trace in traces])
        log = bool(0 < 100 * values.min() < values.max())  # else the first losses hide the others
        unit = "%" if kind in SHARES else UNITS.get(kind, "loss")
        title = f"{phase} {TITLES.get(kind, kind)}".strip()
        if several and names != [kind]:
            title += names[0].replace(f"{kind}_", ", ")
        plots.append(plot(title, "epoch", unit, traces, type="log" if log else "linear"))
        plots[-1]["layout"]["showlegend"] = len(names) > 1
    return plots


def cmc(groups: Sequence[Group]) -> list[Plot]:
    """Cumulative matching: the share of probes whose person is among the k nearest, or among the k
    that a recogniser finds most probable.
    """
    rows: dict[tuple[int, str], list[np.ndarray]] = defaultdict(list)
    errors: list[InputError] = []
    for g, (label, runs) in enumerate(groups):
        for run in runs:
            with collected(errors):
                k = np.arange(1, min(len(run.encoded.gallery), RANKS) + 1)
                rows[g, label].append((run.encoded.ranks[:, None] <= k).mean(axis=0))
            for test, row in run.content.get("tests", {}).items():
                shares = list(row["best"]["rank"].values())[:RANKS]
                rows[g, f"{label}, recogniser, {test}"].append(np.array(shares))
    if not rows:
        raise_collected(errors)
    traces = [
        trace for n, ((g, name), own) in enumerate(rows.items())
        for trace in curve(name, np.arange(1, RANKS + 1), [100 * row for row in own], g, n)
    ]
    return [plot("", "rank", "probes matched (%)", traces)]


def tsne(groups: Sequence[Group]) -> list[Plot]:
    """Features in two dimensions, by person: circles are probes, triangles gallery."""
    from sklearn.manifold import TSNE  # slow to import

    run = groups[0].runs[0]
    parts = run.encoded.sets.probe, run.encoded.sets.gallery
    features = torch.cat([run.encoded.probe, run.encoded.gallery]).numpy()
    labels = np.concatenate([part.labels for part in parts])
    persons, numbers = np.unique(labels, return_inverse=True)
    shown = np.flatnonzero(numbers < len(OF_PERSONS))
    shown = shown[::-(-len(shown) // WINDOWS)]
    model = TSNE(perplexity=min(30, (len(shown) - 1) / 3), max_iter=500, random_state=0)
    points = model.fit_transform(features[shown])  # (n, 2)
    traces = []
    is_probe = shown < len(parts[0])
    for name, symbol, own in (("probe", "circle", is_probe), ("gallery", "triangle-up", ~is_probe)):
        x, y = points[own].T.round(2).tolist()
        marker = {"color": [OF_PERSONS[n] for n in numbers[shown[own]]], "symbol": symbol}
        text = [f"{run.person(label)}, {name}" for label in labels[shown[own]]]
        traces.append({
            "x": x, "y": y, "text": text, "hoverinfo": "text", "mode": "markers", "name": name,
            "marker": marker | {"opacity": 0.75}
        })  # fmt: skip
    words = f"{len(shown)} windows, {min(len(OF_PERSONS), len(persons))} of {len(persons)} persons"
    return [plot("", words, "", traces)]


def attention(groups: Sequence[Group]) -> list[Plot]:
    """AGE's attention by axis, mean over the test: at which frame (column) each step of the decoder
    (row) looks, beside the locality mask.
    """
    attentive = [(label, runs[0]) for label, runs in groups if "attention" in runs[0].content]
    if not attentive:
        raise InputError("no attention in results.json: AGE without it, or training is not done")
    panels = []
    for label, run in attentive:
        matrices = np.array(run.content["attention"]["alignment"])
        panels += [(f"{label}, axis {axis}", x) for axis, x in zip("xyz", matrices, strict=True)]
    top = max(matrix.max() for _, matrix in panels)  # one scale for all, so that they compare
    mask = locality_mask(len(matrices[0]), attentive[0][1].content["settings"]["target"]).numpy()
    heat = {"type": "heatmap", "colorscale": "Viridis", "zmin": 0}
    return [
        plot(title, "frame", "decoder step", [heat | {"z": x.tolist(), "zmax": float(high)}],
             autorange="reversed")
        for title, x, high in (*((*panel, top) for panel in panels), ("locality mask", mask, 1))
    ]


def walk(groups: Sequence[Group]) -> list[Plot]:
    """A walking sequence, the recording of the first probe; drag to turn it."""
    run = groups[0].runs[0]
    probe, bones = run.encoded.sets.probe, run.encoded.sets.skeleton.bone_numbers()
    same = probe.labels if probe.recordings is None else probe.recordings
    frames = np.concatenate(probe.skeletons[same == same[0]])[:LONGEST]  # (T, J, 3)
    lines = np.full((len(frames), len(bones), 3, 3), np.nan)  # bones of two ends and a gap
    lines[:, :, :2] = frames[:, bones] / np.ptp(frames[..., 1])  # 1 high
    lines = np.where(np.isnan(lines), None, lines.round(3)).reshape(len(frames), -1, 3)
    poses = [dict(zip("xzy", pose.T.tolist(), strict=True)) for pose in lines]  # z is up
    look = {"type": "scatter3d", "mode": "lines", "line": {"width": 8}, "hoverinfo": "skip"}
    simulated = ", simulated" if run.content["data"]["simulated"] else ""
    own = plot(f"{run.person(probe.labels[0])}{simulated}", "", "", [look | poses[0]])
    return [own | {"poses": poses, "milliseconds": 1000 / RATE}]
