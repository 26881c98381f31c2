"""Train SPC-MGR (2022) without labels and evaluate it by retrieval before every epoch.

    python train_spcmgr.py --dataset KS20 --probe probe                 the best model is kept
    python train_spcmgr.py --dataset KS20 --probe probe --resume        after an interruption
    python train_spcmgr.py --dataset IAS --probe A --struct_only 1      no collaborative relations
    python train_spcmgr.py --dataset KGBD --tracklets                   recordings are the clusters
    python train_spcmgr.py --dataset IAS --start KS20/best.pt           from a model of other data

Data come from preprocess.py; a run's files lie in <out>/SPC-MGR/<dataset>/<probe>/
(docs/2-training.md).
"""

from skeleton_reid.common.errors import run_command
from skeleton_reid.engine.parsing import parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "SPC-MGR"))

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.engine import checkpoint, features
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.methods.spcmgr import SPCMGROptions
from skeleton_reid.engine.optimizer import TFAdam, one_thread
from skeleton_reid.engine.retrieval import run_retrieval
from skeleton_reid.engine.run import Run
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.models.spcmgr import SPCMGR


def main() -> None:
    run_retrieval("SPC-MGR", parse_training(__doc__, "SPC-MGR"), train)


def train(run: Run, options: SPCMGROptions, device: torch.device) -> None:
    """Score, encode, cluster, learn against the prototypes of the clusters."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = features.load(options, s, None, rng)
    if options.protocol == "released":  # a sequence finds itself: docs/5-fidelity.md, nm-self-match
        sets = replace(sets, same_set=False)
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    generator = torch.Generator().manual_seed(options.seed)
    model = SPCMGR(sets.skeleton, s.heads, fusion_lambda=s.fusion_lambda,
                   struct_only=bool(s.struct_only), generator=generator).to(device)
    if options.start:
        start = checkpoint.load(options.start, "SPC-MGR")
        checkpoint.load_weights(model, start["model"], options.start)
    run.open()
    optimizer = TFAdam(model.parameters(), s.lr)
    for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):
        if not epoch.score():
            continue
        with epoch.stage("encode"):
            v = encode(model, x, s.batch_size)  # (N, 144)
        y = epoch.cluster([v], v, k1=s.k1, k2=s.k2)  # (1, N), -1: noise
        if y is None:
            continue
        with epoch.stage("learn"), one_thread():
            prototypes = mean_of_clusters(v, y[0])  # (K, 144)
            for batch in epoch.batches(y, s.batch_size):
                losses = model.losses(x[batch.own], y[0, batch.own], prototypes, s.t,
                                      counts=y[0, batch.all].any())
                epoch.step(optimizer, losses, batch)


@one_thread()
@torch.no_grad()
def encode(model: SPCMGR, x: Tensor, size: int) -> Tensor:
    """Features (N, 144) of the windows."""
    return processes.divided(lambda batch: (model.encode(batch).mean(dim=1),), x.split(size))[0]


if __name__ == "__main__":
    run_command(main)
