"""Classifiers that the papers' recognition tables compare with, trained on the persons' labels from
end to end.

    D-13+KNN      descriptor D-13 of a window, k nearest neighbours
    D-16+AdaBoost descriptor D-16 of a window, boosted decision trees
    LSTM          the window's joint coordinates, one LSTM layer, its last state
    LSTM-2        the same with two layers: AGE's encoder without all that AGE adds (row GE of its ablation)

The papers do not say how these were set up. What is chosen here: neighbours vote by inverse
distance, in standardised descriptors (metres and ratios have no common unit); boosted are trees,
not stumps, since a stump tells two of up to 164 persons apart; the LSTMs have the width, batches
and learning rate of AGE.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import AdaBoostClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn
from tqdm import tqdm

from common.command_line import log
from data import Recognition, Sequences
from data.descriptors import descriptor
from engine import recognition_training, results
from engine.optimizer import TFAdam
from reid.recognition import evaluate

KNN = {"neighbours": 5}
ADABOOST = {"trees": 100, "depth": 10}
# epochs: at most; patience: epochs without a better Rank-1 of any test that end training.
LSTM = {"layers": 1, "hidden": 256, "lr": 0.0005, "batch_size": 128, "epochs": 100, "patience": 20}
SETTINGS = {
    "D-13+KNN": KNN,
    "D-16+AdaBoost": ADABOOST,
    "LSTM": LSTM,
    "LSTM-2": LSTM | {"layers": 2},
}
NAMES = tuple(SETTINGS)


def settings_of(name: str, epochs: int | None = None) -> dict[str, Any]:
    """The settings of a classifier. epochs: fewer at most, for those that are trained in epochs."""
    settings = dict(SETTINGS[name])
    if epochs and "epochs" in settings:
        settings["epochs"] = epochs
    return settings


def recognise(
    name: str,
    sets: Recognition,
    settings: Mapping[str, Any],
    seed: int,
    device: torch.device,
    quiet: bool = False,
) -> dict[str, dict[str, Any]]:
    """Train a classifier on the training set and score it on every test.

    name: one of NAMES. settings: as from settings_of. Returns for each test "best" and "last", each
    a dict of reid.recognition.evaluate; the LSTMs' have an epoch, the others' are equal. Raises
    InputError for descriptors that are not defined for the data's joints.
    """
    log.info(f"{name}: training on {len(sets.train)} sequences of {len(sets.persons)} persons")
    if "layers" in settings:
        return _recognise_by_lstm(sets, settings, seed, device, quiet)
    words, make = ("D-13", _knn) if name == "D-13+KNN" else ("D-16", _adaboost)
    classifier = make(settings, seed)
    classifier.fit(descriptor(words, sets.train.skeletons), sets.train.labels)
    found = {}
    for test_name, test in sets.tests.items():
        shares = classifier.predict_proba(descriptor(words, test.skeletons))  # (N, trained persons)
        figures = evaluate(_log_shares(shares, classifier.classes_, len(sets.persons)), test.labels)
        found[test_name] = {"best": figures, "last": figures}
    return found


def table(found: Mapping[str, Mapping[str, Any]], name: str, corner: str = "") -> str:
    """The figures of every test, as text; best and last where there are epochs. corner: the table's
    title.
    """
    if "epochs" in SETTINGS[name]:
        return recognition_training.table(found, name, corner)
    rows = ((f"{name} {test}", row["best"]) for test, row in found.items())
    return results.recognition_table(rows, corner)


def _knn(settings: Mapping[str, Any], seed: int):
    neighbours = KNeighborsClassifier(settings["neighbours"], weights="distance")
    return make_pipeline(StandardScaler(), neighbours)


def _adaboost(settings: Mapping[str, Any], seed: int) -> AdaBoostClassifier:
    tree = DecisionTreeClassifier(max_depth=settings["depth"])
    return AdaBoostClassifier(tree, n_estimators=settings["trees"], random_state=seed)


def _log_shares(shares: np.ndarray, classes: np.ndarray, persons: int) -> np.ndarray:
    """Scores (N, persons): logarithms of the shares (N, trained persons), of which each person gets
    a little.

    A hundredth of the whole is spread evenly, so that a person without a vote is improbable and not
    impossible.
    """
    whole = np.zeros((len(shares), persons))
    whole[:, classes] = shares
    return np.log(0.99 * whole + 0.01 / persons)


class SequenceClassifier(nn.Module):
    """LSTM layers over the frames of a window, and a linear layer on the last state.

    joints: J. persons: classes. layers, hidden: of the LSTM. generator: draws the weights, uniform
    in ±1/sqrt(hidden).
    """

    def __init__(
        self, joints: int, persons: int, layers: int, hidden: int, generator: torch.Generator
    ):
        super().__init__()
        self.lstm = nn.LSTM(3 * joints, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, persons)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5, generator=generator)

    def forward(self, skeletons: Tensor) -> Tensor:
        """Hip-centred skeletons (B, f, J, 3) -> scores (B, persons)."""
        states, _ = self.lstm(skeletons.flatten(2))  # (B, f, hidden)
        return self.output(states[:, -1])

    @torch.no_grad()
    def scores(self, skeletons: Tensor, batch: int = 4096) -> Tensor:
        """The same for any number of windows: (N, f, J, 3) -> (N, persons)."""
        return torch.cat([self(part) for part in skeletons.split(batch)])


def _recognise_by_lstm(
    sets: Recognition, settings: Mapping[str, Any], seed: int, device: torch.device, quiet: bool
) -> dict[str, dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (sets.joints, len(sets.persons), settings["layers"], settings["hidden"])
    model = SequenceClassifier(*sizes, generator).to(device)
    optimizer = TFAdam(model.parameters(), settings["lr"])
    training, tests = (
        _on(sets.train, device),
        {name: _on(test, device) for name, test in sets.tests.items()},
    )
    found: dict[str, dict[str, Any]] = {name: {} for name in tests}
    newest = 0  # epoch of the newest best
    # disable=None shows the bar on a terminal only.
    with tqdm(
        total=settings["epochs"], unit="epoch", disable=True if quiet else None, leave=False
    ) as bar:
        for epoch in range(1, settings["epochs"] + 1):
            order = torch.randperm(len(sets.train), generator=generator).to(device)
            for batch in order.split(settings["batch_size"]):
                recognition_training.learn_batch(
                    model, optimizer, *(array[batch] for array in training)
                )
            for name, (skeletons, labels) in tests.items():
                scores = model.scores(skeletons)
                rank1 = (scores.argmax(dim=1) == labels).double().mean().item()
                if rank1 > found[name].get("best", {"rank1": -1.0})["rank1"]:
                    found[name]["best"] = {**evaluate(scores, labels), "epoch": epoch}
                    newest = epoch
            bar.update()
            if epoch - newest >= settings["patience"]:
                break
    for name, (skeletons, labels) in tests.items():
        found[name]["last"] = {**evaluate(model.scores(skeletons), labels), "epoch": epoch}
    return found


def _on(sequences: Sequences, device: torch.device) -> tuple[Tensor, Tensor]:
    """Skeletons (N, f, J, 3) and labels (N,) on the device."""
    return tuple(torch.from_numpy(a).to(device) for a in (sequences.skeletons, sequences.labels))
