"""Recognisers: an encoder and a recognition network on its frozen features, their data, scores and
checkpoints.
"""

import argparse
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import data
from common.errors import InputError
from data import DataWarning, Recognition
from engine.encoding import encode_rows, load_model, method_of
from engine.run import Run, load_weights
from models.recognition import RecognitionNetwork
from reid.recognition import evaluate

SCORE_BATCH = 4096  # sequences; bounds memory, changes no number
COMBINE = {
    "mean": lambda logits: logits.mean(dim=1),
    "sum": lambda logits: logits.sum(dim=1),
    "last": lambda logits: logits[:, -1],
}


class Recogniser(nn.Module):
    """A recognition network, and how the logits of a sequence's rows become one score for each
    person.

    inputs, persons, hidden, generator: as of RecognitionNetwork. combine: mean (AGE), sum or last
    (SM-SGE).
    """

    def __init__(
        self,
        inputs: int,
        persons: int,
        hidden: int,
        combine: str = "mean",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.network = RecognitionNetwork(inputs, persons, hidden, generator)
        self.arguments = {**self.network.arguments, "combine": combine}
        self.combine = COMBINE[combine]

    def forward(self, rows: Tensor) -> Tensor:
        """Feature rows (B, R, inputs) -> scores (B, persons)."""
        return self.combine(self.network(rows))

    @torch.no_grad()
    def scores(self, rows: Tensor) -> Tensor:
        """The same for any number of sequences: (N, R, inputs) -> (N, persons)."""
        return torch.cat([self(part) for part in rows.split(SCORE_BATCH)])


@dataclass(frozen=True)
class Rows:
    """What the network is given: R feature rows a sequence (N, R, d), and the class of each (N,),
    on one device.
    """

    rows: Tensor
    labels: Tensor


def save(
    run: Run,
    test: str | None,
    encoder: nn.Module,
    recogniser: Recogniser,
    persons: np.ndarray,
    weights: Mapping[str, Tensor],
    figures: dict[str, Any],
) -> None:
    """Write encoder and network as one checkpoint, from which skeletons can be recognised without
    flags.

    test: the test that they are the best of, best_<test>.pt; None for the last ones, final.pt.
    persons: the data files' label of each class. weights: the network's. figures: with epoch and
    step.
    """
    part = {"model": dict(weights), "arguments": recogniser.arguments, "test": test}
    part["persons"] = [int(person) for person in persons]
    file = f"best_{test}.pt" if test else "final.pt"
    run.save_best(encoder, figures["epoch"], figures, file, recogniser=part)


def score_saved(
    path: Path,
    sets: Recognition,
    device: torch.device,
    protocol: str,
    content: dict[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Figures of a saved recogniser on each test set, with the epoch and step that it was saved at.

    content: what is in the checkpoint, if it has been read already.
    Raises InputError for a damaged file, a model of other data, or test persons that it was not
    trained on.
    """
    model, content = load_model(path, sets.joints, sets.length, device, content=content)
    if "recogniser" not in content:
        raise InputError(
            f"{path} holds an encoder alone, expected one with a recogniser, such as best_<test>.pt"
        )
    part = content["recogniser"]
    recogniser = Recogniser(**part["arguments"])
    load_weights(recogniser, part["model"], path)
    recogniser.to(device)
    known = np.array(part["persons"])
    figures = {}
    for name, test in sets.tests.items():
        labels = sets.persons[test.labels]
        refuse_unknown(name, labels, known)
        rows = rows_of_test(
            model, test.skeletons, np.searchsorted(known, labels), content["settings"], protocol
        )
        where = {key: content["figures"][key] for key in ("epoch", "step")}
        figures[name] = {**evaluate(recogniser.scores(rows.rows), rows.labels), **where}
    return figures


def rows_of_test(
    model: nn.Module,
    skeletons: np.ndarray,
    labels: np.ndarray,
    settings: Mapping[str, Any],
    protocol: str,
) -> Rows:
    """A test set as the recogniser is given it; labels (N,) are classes. The released protocol
    leaves some out.
    """
    if protocol == "released":
        kept = method_of(model).released_test(labels, settings, skeletons.shape[1])
        skeletons, labels = skeletons[kept], labels[kept]
    rows = encode_rows(model, skeletons, settings)
    return Rows(rows, torch.from_numpy(labels).to(rows.device))


def load(args: argparse.Namespace, centred: bool = True) -> Recognition:
    """The recognition sets that a command line names, the training set in stored order.

    Raises InputError if data are missing or damaged, or a test holds persons that are not trained.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of the persons that are refused below
        sets = data.load_recognition(
            args.dataset,
            None,
            args.length,
            args.data,
            view=args.view,
            balance=False,
            shuffle=False,
            centred=centred,
        )
    trained = sets.persons[np.unique(sets.train.labels)]
    if len(trained) < 2:
        raise InputError(
            f"recognition needs at least two persons to tell apart, found {len(trained)} in training"
        )
    for name, test in sets.tests.items():
        refuse_unknown(name, sets.persons[test.labels], trained)
    return sets


def pick_test(args: argparse.Namespace, tests: Collection[str], own: str | None = None) -> None:
    """Make --probe the name of a test split: by default a checkpoint's own, or the first.
    InputError for others.
    """
    args.probe = args.probe or own or next(iter(tests))
    if args.probe not in tests:
        raise InputError(f"unknown test split {args.probe!r}; choose one of {', '.join(tests)}")


def refuse_unknown(name: str, labels: np.ndarray, known: np.ndarray) -> None:
    """InputError, with their labels, if some persons of a test are not among the known ones."""
    lost = np.setdiff1d(labels, known).tolist()
    if lost:
        shown = ", ".join(map(str, lost[:10])) + ", ..." * (len(lost) > 10)
        raise InputError(
            f"test split {name}: expected persons that were trained, found {len(lost)} others: labels {shown}; "
            "recognition cannot name them: use the data that belong together, or retrieval"
        )
