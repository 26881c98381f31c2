"""Train "X + DF": a small network with labels on the frozen frame features of an encoder X.

    python train_df.py --source SM-SGE --dataset KS20                on train_smsge.py's encoder
    python train_df.py --source AGE --dataset IAS --probe A          on train_age.py's
    python train_df.py --source FILE.npz --dataset KS20              on feature files of any model
    python train_df.py --source SM-SGE --dataset KS20 --resume       after an interruption
    python train_df.py --source SM-SGE --dataset KS20 --mode Eval    score the saved best network

Train the encoder with --task retrieval first.
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("DF", __doc__)

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from skeleton_reid.engine import retrieval
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import SourceOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.recognition import DF


def train(run: Run, options: SourceOptions, device: torch.device) -> None:
    """Score and learn, until the best top-1 is `patience` epochs old."""
    s = options.settings
    sets = retrieval.load(options, s, run.source, np.random.RandomState(options.seed))
    run.open()
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, d)
    y = torch.from_numpy(retrieval.known_classes(sets, s.supervision)).to(device)  # (N,)
    generator = torch.Generator().manual_seed(options.seed)
    model = DF(x.shape[2], int(y.max()) + 1, s.H, generator).to(device)
    optimizer = TFAdam(model.parameters(), s.lr)
    for epoch in Epochs(run, model, sets, optimizer=optimizer):
        if not epoch.score():
            continue
        with epoch.stage("learn"):
            for batch in epoch.batches(y, s.batch_size):
                loss = cross_entropy(model(x[batch.own]), y[batch.own])
                epoch.step(optimizer, {"loss": loss}, batch)
