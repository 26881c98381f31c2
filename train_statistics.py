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
from skeleton_reid.engine.options import StatisticsOptions, parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "statistics", StatisticsOptions))

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from skeleton_reid.common import processes
from skeleton_reid.engine import evaluation, results
from skeleton_reid.engine.epochs import EarlyStopping, Timer
from skeleton_reid.engine.retrieval import describe, evaluate, report, write_features
from skeleton_reid.engine.run import Run, execute, mean_losses
from skeleton_reid.engine.settings import StatisticsSettings
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.models.statistics import (Statistics, class_contrast, first_features,
                                             join_nearest, link_windows)
from skeleton_reid.reid import cluster_quality
from skeleton_reid.reid.jaccard import cluster


def main() -> None:
    options = parse_training(__doc__, "statistics", StatisticsOptions)
    folder = options.out / options.settings.folder("statistics") / options.dataset.name
    execute(Run("statistics", options, folder / options.probe), train, evaluate, write_features)


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


def train(run: Run, options: StatisticsOptions, device: torch.device) -> None:
    """Label, learn for the epochs of a round, evaluate; again for every round."""
    settings = options.settings
    sets = evaluation.cut(evaluation.load_in_order(options), settings.batch_size, options.protocol)
    classes = evaluation.known_classes(sets, settings)  # (N,), or None: clusters are the classes
    if min(len(sets.train), settings.batch_size) < 2:
        raise InputError(
            "batch normalisation needs two windows: expected that many to train with, and "
            f"in a batch, found {len(sets.train)} and {settings.batch_size}")
    run.open()
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    torch.manual_seed(options.seed)
    model = Statistics(len(sets.skeleton), settings.H, settings.D_out, settings.dropout,
                       settings.beside, settings.turned).to(device)
    windows = model.statistics.fit(skeletons)(skeletons)  # (N, 2 d)
    current, best = Round(model, settings), EarlyStopping(None)
    parts = {"model": model, "round": current, "best": best}
    epoch = run.resume(parts, changeable=("rounds",))
    describe(run, model, sets)
    last = min(settings.rounds * settings.round_epochs, options.epochs or math.inf)
    with Timer(last, epoch, options.quiet, device) as timer:
        with timer("cluster"):
            tracklets = link_windows(skeletons) if settings.linked and classes is None else None
        while True:
            row, losses, line, clusters = {}, {}, "", []
            begins = epoch % settings.round_epochs == 0
            reason = f"{epoch} epochs done" if epoch >= last else None
            if begins or reason:
                with timer("evaluate"):
                    figures = evaluation.score_encoder(model, sets, options.protocol)
                row |= figures
                line = results.retrieval_line(figures)
                # A run that is resumed within a round has not kept figures from there.
                if (begins or not best.figures) and best.update(epoch, figures):
                    run.save_best(model, epoch, figures)
            if begins and not reason:
                with timer("cluster"):
                    labels, vectors = label(model, windows, skeletons, tracklets, classes, epoch,
                                            options)
                    clusters = [labels.cpu().numpy()]
                    row |= cluster_quality.figures(clusters, vectors, sets.train.labels)
                    line += "  clusters {clusters_1}  noise {noise_1}  AMI {AMI_1:.3f}".format(
                        **row)
                current.begin(labels, vectors)
                if len(vectors) < 2:
                    reason = f"{len(vectors)} clusters at epoch {epoch}"
            if not reason:
                with timer("learn"):
                    losses["loss"] = learn(current, windows, epoch, options.seed)
            run.end_epoch(epoch, row, losses, line, timer.end_epoch(epoch), clusters)
            if reason:
                break
            epoch += 1
            run.save_last(epoch, parts)
    if not best.figures:
        raise InputError(f"nothing was trained: {reason}; try another --eps or --min_samples")
    report(run, best.figures, figures, epoch, reason)


@torch.no_grad()
def label(model: Statistics, windows: Tensor, skeletons: Tensor, tracklets: Tensor | None,
          classes: np.ndarray | None, epoch: int,
          options: StatisticsOptions) -> tuple[Tensor, Tensor]:
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


def learn(current: Round, windows: Tensor, epoch: int, seed: int) -> float:
    """One epoch of AdamW over the labelled windows, (N, 2 d), in random order. Returns the loss."""
    model, settings, labels = current.model, current.settings, current.labels
    torch.manual_seed(seed * 100_003 + epoch + 1)  # a resumed run draws the same
    model.train()
    kept = (labels >= 0).nonzero().squeeze(1)
    order = kept[torch.randperm(len(kept)).to(kept.device)]
    # Batches of nearly equal size; rather one window more than a batch of one.
    batches = order.tensor_split(min(-(-len(order) // settings.batch_size), len(order) // 2))
    first, losses = epoch % settings.round_epochs * len(batches), []
    for step, batch in enumerate(batches, first):
        rate = learning_rate(step, settings.round_epochs * len(batches), settings.lr)
        for group in current.optimizer.param_groups:
            group["lr"] = rate
        own, weight = processes.part(len(batch))
        x = windows[batch]
        features = model((x + settings.noise * torch.randn_like(x))[own], len(batch))
        # Gradients meet within the model: the processes' losses must add up to the batch's.
        loss = weight * class_contrast(features, labels[batch[own]], current.vectors, settings.t)
        current.optimizer.zero_grad()
        loss.backward()
        parameters = [*model.parameters(), current.vectors]
        losses.append(processes.average_gradients({"loss": loss}, parameters, weight=1))
        current.optimizer.step()
    return mean_losses(losses)["loss"]


def learning_rate(step: int, steps: int, lr: float) -> float:
    """The rate of a step of a round: linear warm-up over a tenth of it times a cosine to 0."""
    return lr * min(1.0, (step + 1) / (0.1 * steps)) * (1 + math.cos(math.pi * step / steps)) / 2


if __name__ == "__main__":
    run_command(main)
