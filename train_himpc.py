"""Train Hi-MPC (IJCV 2024) without labels and evaluate it by retrieval before every epoch.

    python train_himpc.py --dataset KS20 --probe probe                 the best model is kept
    python train_himpc.py --dataset KS20 --probe probe --resume        after an interruption
    python train_himpc.py --dataset IAS --probe A --focus 0            without hard skeleton mining
    python train_himpc.py --dataset KGBD --tracklets                   recordings are the clusters
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("Hi-MPC", __doc__)

from collections.abc import Callable

import numpy as np
import torch

from skeleton_reid.common import processes
from skeleton_reid.data import Retrieval
from skeleton_reid.engine import retrieval
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import ClusterOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.himpc import HiMPC
from skeleton_reid.models.simmc import mean_of_clusters


def train(run: Run, options: ClusterOptions, device: torch.device) -> None:
    """The levels J, P, B, whose losses are one."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = retrieval.load(options, s, None, rng)
    generator = torch.Generator().manual_seed(options.seed)
    model = HiMPC(sets.skeleton, s.H, s.M, generator, focus=s.focus).to(device)
    run.open()
    clustered = model.transformed if s.cluster_on == "MSMR" else list
    learn(run, model, sets, rng, clustered,
          lambda x, y, prototypes, _: model.losses(x, y, prototypes))


def learn(run: Run, model: EmbeddingModel, sets: Retrieval, rng: np.random.RandomState,
          clustered: Callable, losses: Callable) -> None:
    """Score, encode and cluster every level, learn against the prototypes of each; also SPC-MGR.

    model: its `levels` gives the features u (B, d) of windows at each level. clustered: of these
    features (N, d) what is clustered. losses: from windows, their clusters (levels, B), prototypes
    (K, d) of each level and the clusters of the whole batch.
    """
    s, x = run.settings, torch.from_numpy(sets.train.skeletons).to(next(model.parameters()).device)
    optimizer = TFAdam(model.parameters(), s.lr)
    for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):
        if not epoch.score():
            continue
        with epoch.stage("encode"), torch.no_grad():
            u = processes.divided(model.levels, x.split(s.batch_size))  # (N, d) each
            views = clustered(u)
        y = epoch.cluster(views, torch.cat(views, dim=1), k1=s.k1, k2=s.k2)  # -1: noise
        if y is None:
            continue
        with epoch.stage("learn"):
            prototypes = [mean_of_clusters(v, k) for v, k in zip(u, y, strict=True)]
            for batch in epoch.batches(y, s.batch_size):  # of windows that are noise at no level
                of_batch = losses(x[batch.own], y[:, batch.own], prototypes, y[:, batch.all])
                epoch.step(optimizer, of_batch, batch)
