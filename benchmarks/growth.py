"""How seconds and memory grow with the number of features, and those of other packages' searches.

Features are searched, clustered, and ranked as two halves. --features FILE: those of a training
script; else they are made up. --full: up to 200,000. A picture is drawn beside the JSON.
"""

from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import inputs
from benchmarks.harness import RESULTS, Options, Report, in_new_process, peak_mib, timed
from benchmarks.jaccard import EPS, MIN_SAMPLES
from skeleton_reid.reid import ranking
from skeleton_reid.reid.jaccard import cluster
from skeleton_reid.reid.neighbours import SMALLEST, nearest_neighbours

SIZES = (2_000, 5_000, 12_000, 30_000, 80_000, 200_000)
PEERS = ("search by faiss", "ranking by pytorch-metric-learning", "ranking by torchmetrics")
PEERS_TO = (30_000, 5_000, 5_000)  # features up to which they are timed
LINES = ("search", "rest of clustering", "ranking", *PEERS)
RANKED_TO = 80_000


def run(options: Options) -> Report:
    sizes = (300, 600) if options.quick else SIZES if options.full else SIZES[:4]
    report = Report("CPU seconds by the number of features, and by which power of it they grow")
    for size in sizes:
        report.rows.append(in_new_process(measure, options.features, size))
    powers: dict[str, Any] = {"features": "power"}
    for name in report.rows[0]:
        points = [(row["features"], row[name]) for row in report.rows if row[name]]
        if len(points) > 1:
            powers[name] = powers.get(name) or slope(points[-3:])
    report.numbers = {"powers": powers}
    report.notes = [
        "power, of the last three sizes: "
        + ", ".join(f"{name} {value:.2f}" for name, value in powers.items() if name != "features")
    ]
    report.notes.append("threads: " + str(torch.get_num_threads()))
    draw(report.rows, powers)
    return report


def slope(points: list[tuple[float, float]]) -> float:
    """The power by which the second number of each point grows with the first."""
    x, y = np.log(np.array(points, dtype=float)).T
    return float(np.polyfit(x, y, 1)[0])


def measure(file, size: int) -> dict[str, Any]:
    """CPU seconds of each step on some features, in this process, which has done nothing before."""
    rng = np.random.RandomState(0)
    x, _ = inputs.features(file, size)
    ids = rng.randint(0, max(2, size // 200), size)
    cluster(inputs.clustered(SMALLEST), EPS, MIN_SAMPLES)  # compiles
    features = torch.from_numpy(x)
    rank, search = timed(partial(nearest_neighbours, features, 20))
    rest = timed(partial(cluster, features, EPS, MIN_SAMPLES, rank=rank))[1]
    row = {"features": size, "search": search.cpu, "rest of clustering": rest.cpu}
    row |= dict.fromkeys(("ranking", *PEERS))
    row["peak MiB"] = peak_mib()
    timed_peers = [name for name, most in zip(PEERS, PEERS_TO, strict=True) if size <= most]
    if PEERS[0] in timed_peers:
        found, row[PEERS[0]] = by_faiss(x)
        same = (found == rank.numpy()).mean()
        if same < 0.99:
            raise AssertionError(f"only {100 * same:.1f} % of the neighbours are faiss's")
    if size <= RANKED_TO:
        half = size // 2
        sets = x[:half], ids[:half], x[half:], ids[half:]
        (_, precision), seconds = timed(partial(ranking.ranks, *sets))
        row["ranking"] = seconds.cpu
        for name, peer in ((PEERS[1], by_metric_learning), (PEERS[2], by_torchmetrics)):
            if name in timed_peers and (result := peer(*map(torch.from_numpy, sets))):
                mean, row[name] = result
                if abs(mean - np.nanmean(precision)) > 1e-3:
                    raise AssertionError(f"{name}: mAP {mean}, not {np.nanmean(precision)}")
    return row


def by_faiss(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Neighbours by faiss's exact index, and CPU seconds."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)
    found, seconds = timed(partial(index.search, x, 20))
    return found[1], seconds.cpu


def by_metric_learning(probe, probe_ids, gallery, gallery_ids) -> tuple[float, float] | None:
    """mAP by pytorch-metric-learning's accuracy calculator, and CPU seconds; None without it."""
    try:
        from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    except ImportError:
        return None
    name = "mean_average_precision"
    calculator = AccuracyCalculator(include=(name,), k=len(gallery), device=torch.device("cpu"))
    found, seconds = timed(lambda: calculator.get_accuracy(probe, probe_ids, gallery, gallery_ids))
    return found[name], seconds.cpu


def by_torchmetrics(probe, probe_ids, gallery, gallery_ids) -> tuple[float, float] | None:
    """mAP by torchmetrics' retrieval, and CPU seconds; None without it."""
    try:
        from torchmetrics.retrieval import RetrievalMAP
    except ImportError:
        return None

    def work() -> float:
        scores = 1 / (1 + torch.cdist(probe, gallery))  # it passes over what is not above 0
        match = probe_ids[:, None] == gallery_ids
        rows = torch.arange(len(probe))[:, None].expand_as(match)
        mean = RetrievalMAP(empty_target_action="skip")
        return float(mean(scores.flatten(), match.flatten(), indexes=rows.flatten()))

    found, seconds = timed(work)
    return found, seconds.cpu


def draw(rows: list[dict[str, Any]], powers: dict[str, Any]) -> None:
    """Draw results/benchmarks/growth.png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    for name in LINES:
        points = [(row["features"], row[name]) for row in rows if row[name]]
        if not points:
            continue
        style = ":" if name in PEERS else "-"
        seconds.plot(*zip(*points, strict=True), "o" + style, label=f"{name} ({powers[name]:.1f})")
    memory.plot([row["features"] for row in rows], [row["peak MiB"] for row in rows], "o-",
                color="black", label=f"peak ({powers['peak MiB']:.1f})")
    for axes, label in ((seconds, "CPU seconds"), (memory, "MiB, clustering")):
        axes.set(xscale="log", yscale="log", xlabel="features of 256 numbers", ylabel=label)
        axes.legend(title="(power)", loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
        axes.grid(alpha=0.3)
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / "growth.png", dpi=110)
