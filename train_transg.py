"""Train TranSG (CVPR 2023) with labels and evaluate it by retrieval before every epoch.

    python train_transg.py --dataset KS20 --probe probe                 the best model is kept
    python train_transg.py --dataset KS20 --probe probe --resume        after an interruption
    python train_transg.py --dataset KS20 --probe probe --mode Eval     score the saved best model

The published setting of KGBD is preprocess.py --joint_order later.
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("TranSG", __doc__)

import numpy as np
import torch

from skeleton_reid.engine import retrieval
from skeleton_reid.engine.encoding import encode_set
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.simmc import mean_of_clusters


def train(run: Run, options: TrainingOptions, device: torch.device) -> None:
    """Score, make a prototype of every person, learn against them from masked graphs."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = retrieval.load(options, s, None, rng)
    run.open()
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    batches, released = -(-len(x) // s.batch_size), options.protocol == "released"
    model_class = METHODS[run.method].model_class
    own = s.of(model_class, layers=s.L_transformer, k=s.enc_k * s.pos_enc, f=sets.length)
    generator = torch.Generator().manual_seed(options.seed)
    model = model_class(sets.skeleton, **own, generator=generator).to(device)
    if s.basis == "lapack":  # docs/05-fidelity.md, positions-from-lapack
        model.take(sets.skeleton, s.basis)
    optimizer = TFAdam(model.parameters(), s.lr)
    for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):
        if not epoch.score():
            continue
        with epoch.stage("encode"):
            how = s.of(model.draw_masks)
            masks = [model.draw_masks(rng, sets.length, released, **how) for _ in range(batches)]
            y = torch.from_numpy(epoch.known).to(device)  # (N,), the persons
            prototypes = mean_of_clusters(encode_set(model, sets.train.skeletons), y)  # (C, H)
        with epoch.stage("learn"):
            torch.manual_seed(options.seed * 100_003 + epoch.number + 1)  # dropout, also resumed
            model.train()
            signs = np.ones((batches, 1, model.k), dtype=int)
            if s.rand_flip:  # of the positions: eigenvectors have none
                signs = np.where(rng.random(signs.shape) < 0.5, -1, 1)
            positions = model.positions * torch.from_numpy(signs).to(device)  # (batches, n, k)
            masks = [torch.from_numpy(np.stack(own)).to(device) for own in zip(*masks, strict=True)]
            steps = epoch.batches(y, s.batch_size, tied=True)  # by dropout and batch norm
            for batch, *inputs in zip(steps, *masks, positions, strict=True):
                losses = model.losses(x[batch.own], y[batch.own], prototypes, *inputs,
                                      **s.of(model.losses))
                epoch.step(optimizer, losses, batch)
