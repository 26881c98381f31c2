"""Classifiers that the papers' recognition tables compare with, trained on the persons' labels.

    D-13+KNN, D-16+AdaBoost  descriptors of a window, nearest neighbours or boosted trees
    LSTM, LSTM-2             coordinates, one or two LSTM layers (two: row GE of AGE's ablation)

The papers do not say how. Here neighbours vote by inverse distance in standardised descriptors
(metres and ratios have no common unit); boosted are trees, as a stump tells two of up to 164
persons apart; the LSTMs have AGE's width, batches and rate.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from skeleton_reid.common.log import log
from skeleton_reid.data import Recognition
from skeleton_reid.data.descriptors import descriptor
from skeleton_reid.engine.epochs import EarlyStopping
from skeleton_reid.engine.optimizer import TFAdam, train_batch
from skeleton_reid.engine.options import CLASSIFIERS
from skeleton_reid.reid.recognition import evaluate


@dataclass(frozen=True)
class KNN:
    neighbours: int = 5


@dataclass(frozen=True)
class AdaBoost:
    trees: int = 100
    depth: int = 10  # at most


@dataclass(frozen=True)
class LSTM:
    layers: int = 1
    hidden: int = 256
    lr: float = 0.0005
    batch_size: int = 128
    epochs: int = 100  # at most
    patience: int = 20  # epochs without a better Rank-1 of any test that end training


Settings = KNN | AdaBoost | LSTM
Metrics = dict[str, dict[str, dict[str, Any]]]  # by test, then "best" and "last"

SETTINGS = dict(zip(CLASSIFIERS, (KNN(), AdaBoost(), LSTM(), LSTM(2)), strict=True))


def settings_of(name: str, **chosen: int | None) -> Settings:
    """The settings of a classifier; of the chosen ones, by name, it takes those that it has."""
    settings = SETTINGS[name]
    return replace(settings, **{n: x for n, x in chosen.items() if x and n in vars(settings)})


def recognise(name: str, sets: Recognition, settings: Settings, seed: int, device: torch.device,
              quiet: bool) -> Metrics:
    """Train it and score every test. InputError for descriptors not defined for the joints."""
    log.info(f"{name}: training on {len(sets.train)} sequences of {len(sets.persons)} persons")
    if isinstance(settings, LSTM):
        return _train_lstm(sets, settings, seed, device, quiet)
    from sklearn import ensemble, neighbors, pipeline, preprocessing, tree  # slow to import

    if isinstance(settings, KNN):
        count = min(settings.neighbours, len(sets.train))
        knn = neighbors.KNeighborsClassifier(count, weights="distance")
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), knn)
    else:
        base = tree.DecisionTreeClassifier(max_depth=settings.depth)
        model = ensemble.AdaBoostClassifier(base, n_estimators=settings.trees, random_state=seed)
    describe = partial(descriptor, name.partition("+")[0], skeleton=sets.skeleton)
    model.fit(describe(sets.train.skeletons), sets.train.labels)
    metrics = {}
    for test_name, test in sets.tests.items():
        shares = np.zeros((len(test), len(sets.persons)))
        shares[:, model.classes_] = model.predict_proba(describe(test.skeletons))  # of the trained
        # A hundredth is spread evenly: a person without a vote is improbable, not impossible.
        row = evaluate(np.log(0.99 * shares + 0.01 / len(sets.persons)), test.labels)
        metrics[test_name] = {"best": row, "last": row}
    return metrics


class SequenceClassifier(nn.Module):
    """LSTM layers over a window's frames, then a linear layer; PyTorch's initial weights."""
    def __init__(self, joints: int, persons: int, settings: LSTM):
        super().__init__()
        self.lstm = nn.LSTM(3 * joints, settings.hidden, settings.layers, batch_first=True)
        self.output = nn.Linear(settings.hidden, persons)

    def forward(self, skeletons: Tensor) -> Tensor:
        """Hip-centred skeletons (B, f, J, 3) -> scores (B, persons)."""
        states, _ = self.lstm(skeletons.flatten(2))  # (B, f, hidden)
        return self.output(states[:, -1])


def _train_lstm(sets: Recognition, settings: LSTM, seed: int, device: torch.device,
                quiet: bool) -> Metrics:
    torch.manual_seed(seed)
    model = SequenceClassifier(len(sets.skeleton), len(sets.persons), settings).to(device)
    optimizer = TFAdam(model.parameters(), settings.lr)
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)
    labels = torch.from_numpy(sets.train.labels).to(device)
    tests = {name: EarlyStopping(settings.patience, "rank1") for name in sets.tests}
    for epoch in tqdm(range(1, settings.epochs + 1), disable=quiet or None, leave=False):
        for batch in torch.randperm(len(labels)).to(device).split(settings.batch_size):
            train_batch(model, optimizer, skeletons[batch], labels[batch])
        last = {}
        for name, test in sets.tests.items():
            with torch.no_grad():
                parts = torch.from_numpy(test.skeletons).split(4096)
                scores = torch.cat([model(part.to(device)) for part in parts])
            last[name] = {**evaluate(scores, test.labels), "epoch": epoch}
            tests[name].update(epoch, last[name])
        if all(best.exhausted for best in tests.values()):
            break
    return {name: {"best": best.metrics, "last": last[name]} for name, best in tests.items()}
