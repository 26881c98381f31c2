"""Train an encoder of window statistics without labels and evaluate it by retrieval every round.

    python train_statistics.py --dataset KGBD --probe probe                  best and last are kept
    python train_statistics.py --dataset KGBD --probe probe --resume         after an interruption
    python train_statistics.py --dataset KGBD --probe probe --mode Eval      score the saved model
    python train_statistics.py --dataset KGBD --probe probe --tracklets      recordings are known

The schedule is fixed: --rounds rounds of --round_epochs epochs. A round begins with an evaluation
and with clusters of the training windows (models/statistics.py); --tracklets or --labels put
recordings or persons in their place. Files: <out>/statistics/<dataset>/<probe>/
(docs/2-training.md).
"""

from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.engine.parsing import parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "statistics"))

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from skeleton_reid.common import processes
from skeleton_reid.common.numbers import counted
from skeleton_reid.engine import evaluation, features
from skeleton_reid.engine.loop import Epochs, divide
from skeleton_reid.engine.methods.statistics import StatisticsSettings
from skeleton_reid.engine.options import ClusterOptions
from skeleton_reid.engine.retrieval import run_retrieval
from skeleton_reid.engine.run import Run
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.models.statistics import (Statistics, class_contrast, first_features,
                                             join_nearest, link_windows)
from skeleton_reid.reid.jaccard import cluster


def main() -> None:
    run_retrieval("statistics", parse_training(__doc__, "statistics"), train)


class Round:
    """What belongs to one round: the windows' labels, the class vectors and the optimiser."""
    def __init__(self, model: Statistics, settings: StatisticsSettings):
        self.model, self.settings = model, settings

    def begin(self, labels: Tensor, vectors: Tensor) -> None:
        """Take labels (N,), -1 for noise, and initial class vectors (K, D_out)."""
        device = next(self.model.parameters()).device
        self.labels, self.vectors = labels.to(device), nn.Parameter(vectors.to(device))
        encoder = {"params": list(self.model.parameters())}
        groups = [encoder, {"params": [self.vectors], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay)

    def state_dict(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        return {"labels": self.labels, "vectors": self.vectors.detach(), "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.begin(state["labels"], state["vectors"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(run: Run, options: ClusterOptions, device: torch.device) -> None:
    """Score, label, learn for the epochs of a round; again for every round."""
    s = options.settings
    sets = features.load(options, s, train=True)
    known = evaluation.known_classes(sets, s.supervision)  # (N,), or None: clusters are the classes
    if min(len(sets.train), s.batch_size) < 2:
        raise InputError(
            "batch normalisation needs two windows: expected that many to train with, and "
            f"in a batch, found {len(sets.train)} and {s.batch_size}")
    run.open()
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    torch.manual_seed(options.seed)
    model = Statistics(len(sets.skeleton), s.H, s.D_out, s.dropout, s.raw_weight,
                       s.align).to(device)
    windows = model.statistics.fit(skeletons)(skeletons)  # (N, 2 d)
    current = Round(model, s)
    tracklets = link_windows(skeletons) if s.link and known is None else None  # (N,)
    limit = min(s.rounds * s.round_epochs, options.epochs or math.inf)
    for epoch in Epochs(run, model, sets, limit=limit, changeable=("rounds",), round=current):
        begins = epoch.number % s.round_epochs == 0
        if (begins or epoch.is_last) and not epoch.score(keep=begins):
            continue
        if begins:
            with epoch.stage("cluster"):
                labels, vectors = label(model, windows, skeletons, tracklets, known, epoch.number,
                                        options)
                epoch.describe_clusters([labels.cpu().numpy()], vectors)
            current.begin(labels, vectors)
            if len(vectors) < 2:
                epoch.end(f"{counted(len(vectors), 'cluster')} at epoch {epoch.number}")
                continue
        with epoch.stage("learn"):
            learn(epoch, current, windows, options.seed)


@torch.no_grad()
def label(model: Statistics, windows: Tensor, skeletons: Tensor, tracklets: Tensor | None,
          classes: np.ndarray | None, epoch: int, options: ClusterOptions) -> tuple[Tensor, Tensor]:
    """Labels (N,) of a round, -1 for noise, and its first class vectors (K, D_out).

    windows: (N, 2 d). skeletons: (N, f, J, 3). tracklets: (N,), whose mean features are clustered,
    if windows were linked. classes: (N,), where they are known. The vectors are drawn in the first
    round, later the means of the learned features.
    """
    settings = options.settings
    if epoch > 0:
        model.eval()
        features, = processes.divided(lambda x: (model(x),), windows.split(4096))  # (N, D_out)
    elif classes is None:
        features = first_features(skeletons, tracklets, model.statistics.reference)
    if tracklets is not None:
        means = functional.normalize(mean_of_clusters(features, tracklets))
        # Half of the usual neighbours: a tracklet stands for several windows.
        classes = cluster(means, settings.eps, settings.min_samples, k1=10, search=options.search)
        classes = classes[tracklets.cpu()]
    elif classes is None:
        classes = cluster(features, settings.eps, settings.min_samples, search=options.search)
    labels = torch.from_numpy(classes).to(windows.device)
    if epoch == 0:
        return labels, functional.normalize(torch.randn(int(labels.max()) + 1, settings.D_out))
    # Clusters of later rounds hold together what the second has joined and learned as one.
    if not settings.labels and (tracklets is None or epoch == settings.round_epochs):
        labels = join_nearest(features, labels)
    return labels, mean_of_clusters(features, labels)


def learn(epoch: Epochs, current: Round, windows: Tensor, seed: int) -> None:
    """One epoch of AdamW over the labelled windows, (N, 2 d), in random order."""
    model, s, labels = current.model, current.settings, current.labels
    torch.manual_seed(seed * 100_003 + epoch.number + 1)  # a resumed run draws the same
    model.train()
    kept = (labels >= 0).nonzero().squeeze(1)
    order = kept[torch.randperm(len(kept)).to(kept.device)]
    # Batches of nearly equal size; rather one window more than a batch of one.
    batches = order.tensor_split(min(-(-len(order) // s.batch_size), len(order) // 2))
    first = epoch.number % s.round_epochs * len(batches)
    for step, batch in enumerate(map(divide, batches), first):
        rate = learning_rate(step, s.round_epochs * len(batches), s.lr)
        for group in current.optimizer.param_groups:
            group["lr"] = rate
        x = windows[batch.all]
        x = (x + s.noise * torch.randn_like(x))[batch.part]
        features = model(x, len(batch.all))
        loss = class_contrast(features, labels[batch.own], current.vectors, s.t)
        epoch.step(current.optimizer, {"loss": loss}, batch)


def learning_rate(step: int, steps: int, lr: float) -> float:
    """The rate of a step of a round: linear warm-up over a tenth of it times a cosine to 0."""
    return lr * min(1.0, (step + 1) / (0.1 * steps)) * (1 + math.cos(math.pi * step / steps)) / 2


if __name__ == "__main__":
    run_command(main)
