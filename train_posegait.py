"""Train PoseGait's CNN with labels, in this project's own reading of it (docs/05-fidelity.md).

    python train_posegait.py --dataset KS20 --probe probe            scored before every epoch
    python train_posegait.py --dataset KS20 --centre_weight 0.01     with the centre loss
    python train_posegait.py --dataset KS20 --probe probe --mode Eval

Its figures are not PoseGait's own.
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("PoseGait-own-reading", __doc__)

import numpy as np
import torch

from skeleton_reid.data.descriptors import posegait
from skeleton_reid.engine import retrieval
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.posegait import PoseGait


def train(run: Run, options: TrainingOptions, device: torch.device) -> None:
    """Score, then learn to tell the persons of the training set by their feature matrices."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = retrieval.load(options, s, None, rng)
    run.open()
    rows = posegait(sets.train.skeletons, skeleton=sets.skeleton)  # (N, R, f)
    if options.protocol == "released":  # poses alone (docs/05-fidelity.md, pose-alone)
        rows[:, 3 * len(sets.skeleton):] = 0
    x, persons = torch.from_numpy(rows).to(device), len(np.unique(sets.train.labels))
    torch.manual_seed(options.seed)
    model = PoseGait(x.shape[1], x.shape[2], persons, padding=1, centres=s.centre_weight > 0,
                     skeleton=sets.skeleton).to(device)
    parameters = [{"params": p, "lr": 5 * s.lr if name == "centres" else s.lr}
                  for name, p in model.named_parameters()]
    optimizer = torch.optim.Adam(parameters, fused=True)
    for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):
        if not epoch.score():
            continue
        y = torch.from_numpy(epoch.known).to(device)  # (N,), the persons
        order = torch.from_numpy(rng.permutation(len(x))).to(device)
        with epoch.stage("learn"):
            torch.manual_seed(options.seed * 100_003 + epoch.number + 1)  # dropout, also resumed
            model.train()
            for batch in epoch.batches(y[order], s.batch_size, tied=True):  # by batch norm
                own = order[batch.own]
                losses = model.losses(x[own], y[own], s.centre_weight)
                epoch.step(optimizer, losses, batch)
