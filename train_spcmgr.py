"""Train SPC-MGR (2022) without labels and evaluate it by retrieval before every epoch.

    python train_spcmgr.py --dataset KS20 --probe probe                 the best model is kept
    python train_spcmgr.py --dataset KS20 --probe probe --resume        after an interruption
    python train_spcmgr.py --dataset IAS --probe A --struct_only 1      no collaborative relations
    python train_spcmgr.py --dataset KGBD --tracklets                   recordings are the clusters
    python train_spcmgr.py --dataset IAS --start KS20/best.pt           from a model of other data
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("SPC-MGR", __doc__)

from dataclasses import replace

import numpy as np
import torch

from skeleton_reid.engine import checkpoint, retrieval
from skeleton_reid.engine.methods.spcmgr import SPCMGROptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.spcmgr import SPCMGR
from train_himpc import learn


def train(run: Run, options: SPCMGROptions, device: torch.device) -> None:
    """One level, the nodes of all scales."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = retrieval.load(options, s, None, rng)
    if options.protocol == "released":  # a sequence finds itself: docs/05, nm-self-match
        sets = replace(sets, same_set=False)
    generator = torch.Generator().manual_seed(options.seed)
    model = SPCMGR(sets.skeleton, s.heads, fusion_lambda=s.fusion_lambda,
                   struct_only=bool(s.struct_only), generator=generator).to(device)
    if options.start:
        start = checkpoint.load(options.start, "SPC-MGR")
        checkpoint.load_weights(model, start["model"], options.start)
    run.open()
    learn(
        run, model, sets, rng, list, lambda x, y, prototypes, of_batch: model.losses(
            x, y[0], prototypes[0], s.t, counts=of_batch.any()))
