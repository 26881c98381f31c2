"""Epochs of train_simmc.py against the same epochs written out: masks by batch number, clusters of
either view by the dense definition, noise of any view left out, batches of what is left.
"""

import numpy as np
import pytest
import torch

from skeleton_reid import data
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.reid import ranking
from tests.reference import jaccard as reference

SIZE, EPS, K = 16, 0.6, 20


def masks_of(rng: np.random.RandomState, f: int) -> list[np.ndarray]:
    """The frames that a batch's two masks keep; each leaves out two."""
    return [np.sort(rng.choice(f, f - 2, replace=False)) for _ in range(2)]


def labels_of(v: torch.Tensor) -> np.ndarray:
    rank = reference.nearest_neighbours(v.numpy(), K)
    return reference.cluster(v.numpy(), rank, EPS, min_samples=2)


def learn(model, optimizer, x, masks, views, labels) -> dict[str, float]:
    """Steps over the windows that are noise in neither view; the mean losses."""
    prototypes = [
        torch.stack([v[torch.from_numpy(own == k)].mean(dim=0) for k in range(own.max() + 1)])
        for v, own in zip(views, labels, strict=True)
    ]
    kept = [n for n in range(len(x)) if labels[0][n] >= 0 and labels[1][n] >= 0]
    seen = []
    for number, first in enumerate(range(0, len(kept), SIZE)):
        batch, keeps = kept[first:first + SIZE], torch.zeros(2, x.shape[1], dtype=torch.bool)
        for keep, frames in zip(keeps, masks[number], strict=True):
            keep[frames] = True
        own = torch.from_numpy(np.stack(labels)[:, batch])
        losses = model.losses(x[batch], keeps, own, prototypes, 0.08, 0.5)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        seen.append({name: loss.item() for name, loss in losses.items()})
    assert len(seen) >= 3
    return {name: np.mean([losses[name] for losses in seen]) for name in ("MPC", "MIC")}


def test_two_epochs_as_written_out(training):
    train = training("SimMC")
    words = ("--batch_size", SIZE, "--eps", EPS, "--min_samples", 2, "--t", 0.08, "--lambda", 0.5,
             "--mask_x", 2, "--mask_x_2", 2, "--lr", 0.01)
    train("--epochs", 2, *words)
    rng = np.random.RandomState(0)
    sets = data.load("KS20", "probe", 6, train.data, rng=rng, batch_size=SIZE)
    x = torch.from_numpy(sets.train.skeletons)
    model = SimMC(75, 16, 1, torch.Generator().manual_seed(0))
    optimizer = TFAdam(model.parameters(), 0.01)
    noise = []
    for row in train.history()[:2]:
        with torch.no_grad():
            probe, gallery = (model.encode(torch.from_numpy(own.skeletons)).mean(dim=1)
                              for own in (sets.probe, sets.gallery))
            metrics = ranking.evaluate(probe, sets.probe.labels, gallery, sets.gallery.labels)
            frames = model.encode(x)
        masks = [masks_of(rng, 6) for _ in range(-(-len(x) // SIZE))]
        views = [
            torch.stack([frames[n, masks[n // SIZE][view]].mean(dim=0) for n in range(len(x))])
            for view in range(2)
        ]
        labels = [labels_of(v) for v in views]
        noise.append([own < 0 for own in labels])
        losses = learn(model, optimizer, x, masks, views, labels)
        assert float(row["top1"]) == pytest.approx(metrics["top1"], abs=1e-9)
        assert float(row["mAP"]) == pytest.approx(metrics["mAP"], abs=1e-5)
        for name, loss in losses.items():
            assert float(row[name]) == pytest.approx(loss, abs=1e-4)
        for view in range(2):
            assert int(row[f"noise_{view + 1}"]) == noise[-1][view].sum()
            assert int(row[f"clusters_{view + 1}"]) == labels[view].max() + 1
        assert int(row["outliers"]) == (noise[-1][0] | noise[-1][1]).sum()
    first, second = noise[0]
    assert (first ^ second).any() and (first & second).any()  # else the above would not tell
