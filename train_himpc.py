"""Train Hi-MPC (IJCV 2024) without labels and evaluate it by retrieval before every epoch.

    python train_himpc.py --dataset KS20 --probe probe                 the best model is kept
    python train_himpc.py --dataset KS20 --probe probe --resume        after an interruption
    python train_himpc.py --dataset IAS --probe A --focus 0            without hard skeleton mining
    python train_himpc.py --dataset KGBD --tracklets                   recordings are the clusters

Data come from preprocess.py; a run's files lie in <out>/Hi-MPC/<dataset>/<probe>/
(docs/2-training.md).
"""

from skeleton_reid.common.errors import run_command
from skeleton_reid.engine.parsing import parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "Hi-MPC"))

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.engine import features
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.optimizer import TFAdam, one_thread
from skeleton_reid.engine.options import ClusterOptions
from skeleton_reid.engine.retrieval import run_retrieval
from skeleton_reid.engine.run import Run
from skeleton_reid.models.himpc import HiMPC
from skeleton_reid.models.simmc import mean_of_clusters


def main() -> None:
    run_retrieval("Hi-MPC", parse_training(__doc__, "Hi-MPC"), train)


def train(run: Run, options: ClusterOptions, device: torch.device) -> None:
    """Score, encode and cluster every level, learn against the prototypes of each."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = features.load(options, s, None, rng)
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    generator = torch.Generator().manual_seed(options.seed)
    model = HiMPC(sets.skeleton, s.H, s.M, generator, focus=s.focus).to(device)
    run.open()
    optimizer = TFAdam(model.parameters(), s.lr)
    for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):
        if not epoch.score():
            continue
        with epoch.stage("encode"):
            u = encode_levels(model, x, s.batch_size)  # three (N, H)
            views = model.transformed(u) if s.cluster_on == "MSMR" else u
        y = epoch.cluster(views, torch.cat(views, dim=1), k1=s.k1, k2=s.k2)  # (3, N), -1: noise
        if y is None:
            continue
        with epoch.stage("learn"), one_thread():
            prototypes = [mean_of_clusters(v, k) for v, k in zip(u, y, strict=True)]  # (K, H) each
            for batch in epoch.batches(y, s.batch_size):  # of windows that are noise at no level
                losses = model.losses(x[batch.own], y[:, batch.own], prototypes)
                epoch.step(optimizer, losses, batch)


@one_thread()
@torch.no_grad()
def encode_levels(model: HiMPC, x: Tensor, size: int) -> list[Tensor]:
    """Features u of the windows at the levels J, P, B: three (N, H)."""
    def encode(batch: Tensor) -> tuple[Tensor, ...]:
        return tuple(v.mean(dim=1) for v in model.encode(batch).values())

    return processes.divided(encode, x.split(size))


if __name__ == "__main__":
    run_command(main)
