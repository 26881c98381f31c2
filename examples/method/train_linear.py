"""Train Linear without labels.

    python train_linear.py --dataset KS20 --epochs 20
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("Linear", __doc__)

import numpy as np
import torch

from skeleton_reid.engine import retrieval
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.models.linear import Linear
from skeleton_reid.models.simmc import mean_of_clusters


def train(run, options, device) -> None:
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = retrieval.load(options, s, None, rng)
    run.open()
    torch.manual_seed(options.seed)
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    model = Linear(x[0, 0].numel(), s.H).to(device)
    optimizer = torch.optim.Adam(model.parameters(), s.lr)
    for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):
        if not epoch.score():  # --epochs or --patience ends the run
            continue
        with epoch.stage("encode"), torch.no_grad():
            v = model.encode(x).mean(dim=1)  # (N, H)
        y = epoch.cluster([v], v)  # (1, N), -1: noise
        if y is None:  # all is noise: the run ends with its report
            continue
        with epoch.stage("learn"):
            prototypes = mean_of_clusters(v, y[0])  # (K, H)
            for batch in epoch.batches(y, s.batch_size):
                losses = model.losses(x[batch.own], y[0, batch.own], prototypes)
                epoch.step(optimizer, losses, batch)
