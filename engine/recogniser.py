"""Recognisers: a recognition network on the frozen features of an encoder, data and scores."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import data
from common.errors import InputError
from data import DataWarning, Recognition, Sequences
from engine import checkpoint
from engine.encoding import encode_rows, load_model
from engine.evaluation import released_test
from engine.options import DataOptions
from engine.settings import settings_of
from models.recognition import RecognitionNetwork
from reid.recognition import evaluate

SCORE_BATCH = 4096  # sequences; bounds memory, changes no number
COMBINE = {"mean": lambda x: x.mean(1), "sum": lambda x: x.sum(1), "last": lambda x: x[:, -1]}


class Recogniser(nn.Module):
    """A recognition network; the logits of a sequence's rows become scores by mean, sum or last."""
    def __init__(self, inputs: int, persons: int, hidden: int, combine: str = "mean",
                 generator: torch.Generator | None = None):
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
    """What the network is given: R feature rows a sequence (N, R, d), and classes (N,)."""

    rows: Tensor
    labels: Tensor


def rows_of_tests(model: nn.Module, tests: Mapping[str, Sequences], settings: Any,
                  protocol: str) -> dict[str, Rows]:
    """Every test set for the recogniser, by name; labels (N,) are classes. Released: not all."""
    rows = {}
    for name, test in tests.items():
        if protocol == "released":
            test = test.take(released_test(settings, test.labels, test.skeletons.shape[1]))
        own = encode_rows(model, test.skeletons, settings)
        rows[name] = Rows(own, torch.from_numpy(test.labels).to(own.device))
    return rows


def score_saved(path: Path, sets: Recognition, device: torch.device, protocol: str,
                content: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Figures of a saved recogniser by test, with its epoch and step. InputError for a damaged
    file, a model of other data, or test persons that it was not trained on.
    """
    model, content = load_model(path, sets.skeleton, sets.length, device, content=content)
    if "recogniser" not in content:
        raise InputError(f"{path} holds an encoder alone, expected a recogniser, best_<test>.pt")
    part = content["recogniser"]
    recogniser = Recogniser(**part["arguments"])
    checkpoint.load_weights(recogniser, part["model"], path)
    recogniser.to(device)
    known, tests = np.array(part["persons"]), {}
    for name, test in sets.tests.items():
        labels = sets.persons[test.labels]
        refuse_unknown(name, labels, known)
        tests[name] = replace(test, labels=np.searchsorted(known, labels))
    tests = rows_of_tests(model, tests, settings_of(content), protocol)
    where = {key: content["figures"][key] for key in ("epoch", "step")}
    scores = {name: recogniser.scores(test.rows) for name, test in tests.items()}
    return {name: {**evaluate(scores[name], tests[name].labels), **where} for name in tests}


def load(options: DataOptions, centred: bool = True) -> Recognition:
    """The recognition sets, in the order of the files; InputError for persons not trained."""
    where = options.dataset, None, options.length, options.data
    how = {"view": options.view, "balance": False, "shuffle": False, "centred": centred}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of the persons that are refused below
        sets = data.load_recognition(*where, **how)
    trained = sets.persons[np.unique(sets.train.labels)]
    if len(trained) < 2:
        raise InputError(f"recognition needs at least two persons, found {len(trained)}")
    for name, test in sets.tests.items():
        refuse_unknown(name, sets.persons[test.labels], trained)
    return sets


def pick_test(probe: str | None, tests: Collection[str], own: str | None = None) -> str:
    """The test split of --probe, or a checkpoint's own, or the first. InputError for others."""
    test = probe or own or next(iter(tests))
    if test not in tests:
        raise InputError(f"unknown test split {test!r}; choose one of {', '.join(tests)}")
    return test


def refuse_unknown(name: str, labels: np.ndarray, known: np.ndarray) -> None:
    """InputError, with their labels, if some persons of a test are not among the known ones."""
    lost = np.setdiff1d(labels, known).tolist()
    if lost:
        shown = ", ".join(map(str, lost[:10])) + ", ..." * (len(lost) > 10)
        raise InputError(f"test split {name}: expected persons that were trained, found "
                         f"{len(lost)} others, labels {shown}: use the data that belong together")
