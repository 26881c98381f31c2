"""Train MoCos (AAAI 2025) with labels and evaluate it by retrieval before every epoch.

    python train_mocos.py --dataset KS20 --probe probe                 the best model is kept
    python train_mocos.py --dataset KS20 --probe probe --resume        after an interruption
    python train_mocos.py --dataset KS20 --probe probe --mode Eval     score the saved best model

Data come from preprocess.py (KGBD's as published with --joint_order later); a run's files lie in
<out>/MoCos/<dataset>/<probe>/ (docs/2-training.md).
"""

from skeleton_reid.common.errors import run_command
from skeleton_reid.engine.parsing import parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "MoCos"))

import numpy as np
import torch

from skeleton_reid.engine import features
from skeleton_reid.engine.encoding import encode_set
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.retrieval import run_retrieval
from skeleton_reid.engine.run import Run
from skeleton_reid.models.mocos import MoCos
from skeleton_reid.models.simmc import mean_of_clusters


def main() -> None:
    run_retrieval("MoCos", parse_training(__doc__, "MoCos"), train)


def train(run: Run, options: TrainingOptions, device: torch.device) -> None:
    """Score, make a prototype of every person, learn against them under random masks."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = features.load(options, s, None, rng)
    run.open()
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    batches = -(-len(x) // s.batch_size)
    generator = torch.Generator().manual_seed(options.seed)
    model = MoCos(sets.skeleton, s.H, s.n_heads, s.L_transformer, s.k, motif=s.motif,
                  batch_norm=s.batch_norm, generator=generator).to(device)
    optimizer, released = TFAdam(model.parameters(), s.lr), options.protocol == "released"
    for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):
        if not epoch.score():
            continue
        with epoch.stage("encode"):
            masks = model.draw_masks(rng, batches, sets.length, s.prob_t, s.prob_s, released)
            y = torch.from_numpy(epoch.known).to(device)  # (N,), the persons
            prototypes = mean_of_clusters(encode_set(model, sets.train.skeletons), y)  # (C, H)
        with epoch.stage("learn"):
            torch.manual_seed(options.seed * 100_003 + epoch.number + 1)  # dropout, also resumed
            model.train()
            places = model.positions.expand(batches, -1, -1)
            if s.rand_flip:
                places = model.flipped(rng, batches)
            each = zip(epoch.batches(y, s.batch_size), *masks, places, strict=True)
            for batch, frames, nodes, place in each:
                losses = model.losses(x[batch.own], y[batch.own], prototypes, frames, nodes, place,
                                      fusion_lambda=s.fusion_lambda, t_1=s.t_1, t_2=s.t_2,
                                      batch=len(batch.all))
                epoch.step(optimizer, losses, batch)


if __name__ == "__main__":
    run_command(main)
