"""Train SimMC (IJCAI 2022) without labels and evaluate it by retrieval before every epoch.

    python train_simmc.py --dataset KS20 --probe probe                 the best model is kept
    python train_simmc.py --dataset KS20 --probe probe --resume        after an interruption
    python train_simmc.py --dataset IAS --probe A --eps 0.7 --seed 1   change one thing
    python train_simmc.py --dataset IAS --probe A --source AGE         on features of a trained AGE
    python train_simmc.py --dataset KGBD --tracklets                   recordings are the clusters
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("SimMC", __doc__)

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.engine import retrieval
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.methods.simmc import SimMCOptions
from skeleton_reid.engine.optimizer import TFAdam, one_thread
from skeleton_reid.engine.run import Run
from skeleton_reid.models.simmc import SimMC, draw_masks, masked_mean, mean_of_clusters


def train(run: Run, options: SimMCOptions, device: torch.device) -> None:
    """Score, encode under two random masks, cluster either view, learn against its prototypes."""
    s, rng = options.settings, np.random.RandomState(options.seed)
    sets = retrieval.load(options, s, run.source, rng)
    run.open()
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3) or (N, f, d)
    generator = torch.Generator().manual_seed(options.seed)
    model = SimMC(x[0, 0].numel(), s.H, s.D, generator).to(device)
    optimizer, batches = TFAdam(model.parameters(), s.lr), -(-len(x) // s.batch_size)
    epochs = Epochs(run, model, sets, keep_model=options.save_model, optimizer=optimizer, rng=rng)
    for epoch in epochs:
        if not epoch.score():
            continue
        with epoch.stage("encode"):
            masks = draw_masks(rng, sets.length, (s.mask_x, s.mask_x_2) * batches)
            masks = torch.from_numpy(masks).to(device).unflatten(0, (batches, 2))
            whole, *views = encode_masked(model, x, masks, s.batch_size)  # (N, H) each
        y = epoch.cluster(views, whole, tight=options.save_flag)  # (2, N), -1: noise
        if y is None:
            continue
        with epoch.stage("learn"), one_thread():
            prototypes = [mean_of_clusters(v, k) for v, k in zip(views, y, strict=True)]  # (K, H)
            # A batch has the masks that its number had above (docs/05, mask-of-batch-number).
            for batch, mask in zip(epoch.batches(y, s.batch_size), masks, strict=False):
                losses = model.losses(x[batch.own], mask, y[:, batch.own], prototypes, s.t,
                                      s.mask_lambda, y[:, batch.all].any(dim=1))
                epoch.step(optimizer, losses, batch)
    if options.save_flag:
        epochs.history.save_arrays()


@one_thread()
@torch.no_grad()
def encode_masked(model: SimMC, x: Tensor, masks: Tensor, size: int) -> list[Tensor]:
    """Features of the whole windows and under either mask of their batch: three (N, H)."""
    def encode(batch: Tensor, pair: Tensor) -> tuple[Tensor, ...]:
        frames = model.encode(batch)  # (B, f, H)
        return frames.mean(dim=1), *(masked_mean(frames, mask) for mask in pair)

    return processes.divided(encode, x.split(size), masks)
