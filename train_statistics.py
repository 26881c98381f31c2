"""Train an encoder of window statistics without labels and evaluate it by retrieval every round.

    python train_statistics.py --dataset KGBD --probe probe                  best and last are kept
    python train_statistics.py --dataset KGBD --probe probe --resume         after an interruption
    python train_statistics.py --dataset KGBD --probe probe --mode Eval      score the saved model
    python train_statistics.py --dataset KGBD --probe probe --tracklets      recordings are known

The schedule is fixed: --rounds rounds of --round_epochs epochs. A round begins with an evaluation
and clusters the training windows (models/statistics.py); --tracklets or --labels use recordings
or persons instead.
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("statistics", __doc__)

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skeleton_reid.common import processes
from skeleton_reid.common.numbers import counted
from skeleton_reid.data.tracklets import link_windows
from skeleton_reid.engine import retrieval
from skeleton_reid.engine.clusters import pseudo_labels
from skeleton_reid.engine.loop import Epochs, divide
from skeleton_reid.engine.options import ClusterOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.simmc import mean_of_clusters, prototype_contrast
from skeleton_reid.models.statistics import Statistics, join_nearest, recording_lda, window_lda


class Round:
    """What belongs to one round: the windows' labels, the class vectors and the optimiser."""
    def __init__(self, model: Statistics, weight_decay: float):
        self.model, self.weight_decay = model, weight_decay

    def begin(self, labels: Tensor, vectors: Tensor) -> None:
        """Take labels (N,), -1 for noise, and initial class vectors (K, D_out)."""
        self.labels, self.vectors = labels, nn.Parameter(vectors.to(labels.device))
        classes = {"params": [self.vectors], "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([{"params": list(self.model.parameters())}, classes],
                                           weight_decay=self.weight_decay)

    def state_dict(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        return {"labels": self.labels, "vectors": self.vectors.detach(), "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = next(self.model.parameters()).device
        self.begin(state["labels"].to(device), state["vectors"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(run: Run, options: ClusterOptions, device: torch.device) -> None:
    """Score, label, learn for the epochs of a round; again for every round."""
    s = options.settings
    sets = retrieval.load(options, s, train=True)
    known = retrieval.known_classes(sets, s.supervision)  # (N,), or None: clusters are the classes
    run.open()
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    torch.manual_seed(options.seed)
    model = Statistics(len(sets.skeleton), **s.of(Statistics))
    windows = model.to(device).statistics.fit(x)(x)  # (N, 2 d)
    tracklets = link_windows(x) if s.link and known is None else None  # (N,)
    current = Round(model, s.weight_decay)
    limit = min(s.rounds * s.round_epochs, options.epochs or math.inf)
    for epoch in Epochs(run, model, sets, limit=limit, changeable=("rounds",), round=current):
        begins = epoch.number % s.round_epochs == 0
        if (begins or epoch.is_last) and not epoch.score(keep=begins):
            continue
        if begins:
            with epoch.stage("cluster"), torch.no_grad():
                first, labels = epoch.number == 0, known
                if not first:
                    model.eval()
                    parts = windows.split(4096)
                    v = processes.divided(lambda x: (functional.normalize(model(x)),), parts)[0]
                elif tracklets is not None:
                    v = recording_lda(x, tracklets, s.align)(x)
                elif known is None:
                    v = window_lda(x, model.statistics.reference)(x)
                if known is None:
                    labels = pseudo_labels(v, tracklets, options)  # -1: noise
                y = torch.from_numpy(labels).to(device)  # (N,)
                # Clusters of later rounds hold together what the second has joined and learned.
                second = epoch.number == s.round_epochs
                if not first and not s.labels and (tracklets is None or second):
                    y = join_nearest(v, y)
                if first:
                    vectors = functional.normalize(torch.randn(int(y.max()) + 1, s.D_out))
                else:
                    vectors = mean_of_clusters(v, y)  # (K, D_out)
                epoch.describe_clusters([y.cpu().numpy()], vectors)
            current.begin(y, vectors)
            if len(vectors) < 2:
                epoch.end(f"{counted(len(vectors), 'cluster')} at epoch {epoch.number}")
                continue
        with epoch.stage("learn"):
            learn(epoch, current, windows, options)


def learn(epoch: Epochs, current: Round, windows: Tensor, options: ClusterOptions) -> None:
    """One epoch of AdamW over the labelled windows, (N, 2 d), in random order."""
    model, s, labels = current.model, options.settings, current.labels
    torch.manual_seed(options.seed * 100_003 + epoch.number + 1)  # a resumed run draws the same
    model.train()
    kept = (labels >= 0).nonzero().squeeze(1)
    order = kept[torch.randperm(len(kept)).to(kept.device)]
    # Batches of nearly equal size; rather one window more than a batch of one.
    batches = order.tensor_split(min(-(-len(order) // s.batch_size), len(order) // 2))
    first = epoch.number % s.round_epochs * len(batches)
    for step, batch in enumerate(map(divide, batches), first):
        for group in current.optimizer.param_groups:
            group["lr"] = learning_rate(step, s.round_epochs * len(batches), s.lr)
        x = windows[batch.all]
        x = (x + s.noise * torch.randn_like(x))[batch.part]
        loss = prototype_contrast(model(x, len(batch.all)), labels[batch.own], current.vectors, s.t)
        epoch.step(current.optimizer, {"loss": loss}, batch)


def learning_rate(step: int, steps: int, lr: float) -> float:
    """The rate of a step of a round: linear warm-up over a tenth of it times a cosine to 0."""
    return lr * min(1.0, (step + 1) / (0.1 * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
