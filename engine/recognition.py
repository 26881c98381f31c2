"""Recognisers on an encoder's frozen features, which are computed once: their sets, training and
scores. Each test set keeps the network of its best Rank-1, beside the last one's metrics.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import log
from skeleton_reid.data import DataWarning, Recognition, Sequences, loader
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.encoding import encode_rows, load_model
from skeleton_reid.engine.history import EarlyStopping
from skeleton_reid.engine.loop import Epochs, divide
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import DataOptions
from skeleton_reid.engine.released import padded_batches, released_test
from skeleton_reid.engine.run import Run
from skeleton_reid.models.recognition import Recogniser
from skeleton_reid.reid.recognition import evaluate

# What may differ on --resume. The encoder's epochs may, because its weights are compared.
CHANGEABLE = ("patience", "pre_epochs", "recognition_epochs")
Metrics = dict[str, dict[str, Any]]  # by test


@dataclass(frozen=True)
class RecognitionSet:
    """What the network is given: R feature rows a sequence (N, R, d), and classes (N,)."""

    rows: Tensor
    labels: Tensor


@dataclass(frozen=True)
class SelectionRule:
    """What differs between the systems; the rest is settings."""

    lr: float
    test_every: int | None = None  # steps over all epochs, from the first on; None: every epoch
    ties: bool = False  # an equal Rank-1 replaces the best one (released: AGE, not SM-SGE)
    best_from: int = 1  # epoch from which the best is kept
    batch_size: int | None = None  # rows; None: that of the settings
    save: bool = True  # keep the networks in files


def load(options: DataOptions, centred: bool = True) -> Recognition:
    """The recognition sets, in the order of the files; InputError for persons not trained."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of the persons that are refused below
        sets = loader.load_recognition(options.dataset, length=options.length, root=options.data,
                                       view=options.view, balance=False, shuffle=False,
                                       centred=centred)
    trained = sets.persons[np.unique(sets.train.labels)]
    if len(trained) < 2:
        raise InputError(f"recognition needs at least two persons, found {len(trained)}")
    for name, test in sets.tests.items():
        refuse_unknown(name, sets.persons[test.labels], trained)
    return sets


def refuse_unknown(name: str, labels: np.ndarray, known: np.ndarray) -> None:
    """InputError, with their labels, if some persons of a test are not among the known ones."""
    lost = np.setdiff1d(labels, known).tolist()
    if lost:
        shown = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
        raise InputError(f"test split {name}: expected persons that were trained, found "
                         f"{len(lost)} others, labels {shown}: use the data that belong together")


def rows_of_tests(model: nn.Module, tests: Mapping[str, Sequences], settings: Any,
                  protocol: str) -> dict[str, RecognitionSet]:
    """Every test set for the recogniser, by name; labels (N,) are classes. Released: not all."""
    rows = {}
    for name, test in tests.items():
        if protocol == "released":
            test = test.take(released_test(settings, test.labels, test.skeletons.shape[1]))
        own = encode_rows(model, test.skeletons, settings)
        rows[name] = RecognitionSet(own, torch.from_numpy(test.labels).to(own.device))
    return rows


def score_saved(path: Path, sets: Recognition, device: torch.device, protocol: str,
                content: dict[str, Any] | None = None) -> Metrics:
    """Metrics of a saved recogniser by test, with its epoch and step. InputError for a damaged
    file, a model of other data, or test persons that it was not trained on.
    """
    model, content = load_model(path, sets.skeleton, sets.length, device, content=content)
    if "recogniser" not in content:
        raise InputError(f"{path} holds an encoder alone, expected a recogniser, best_<test>.pt")
    part = content["recogniser"]
    try:
        recogniser = Recogniser(**part["arguments"]).to(device)
        step = {key: content["metrics"][key] for key in ("epoch", "step")}
    except (TypeError, ValueError, LookupError, RuntimeError, ArithmeticError) as error:
        raise checkpoint.other_version(path, content, error) from error
    checkpoint.load_weights(recogniser, part["model"], path)
    known, tests = np.array(part["persons"]), {}
    for name, test in sets.tests.items():
        labels = sets.persons[test.labels]
        refuse_unknown(name, labels, known)
        tests[name] = replace(test, labels=np.searchsorted(known, labels))
    tests = rows_of_tests(model, tests, settings_of(content), protocol)
    scores = {name: recogniser.scores(test.rows) for name, test in tests.items()}
    return {name: evaluate(scores[name], tests[name].labels) | step for name in tests}


class BestNetworks(EarlyStopping):
    """The test sets, and the best network of each: weights, metrics with epoch and step.
    patience: epochs that end training if none has, on any test, a Rank-1 as high as the highest
    before or a loss as low as the lowest; None: never.
    """

    saved = ("best", "highest", "lowest", "waited")

    def __init__(self, sets: Mapping[str, RecognitionSet], rule: SelectionRule,
                 patience: int | None):
        super().__init__(patience)
        self.sets, self.rule = sets, rule
        self.best: dict[str, dict[str, Any]] = {}  # by test; a new one has its scores (N, C), too
        self.highest = dict.fromkeys(sets, 0.0)
        self.lowest = dict.fromkeys(sets, float("inf"))
        self.improved = False

    def test(self, recogniser: Recogniser, epoch: int, step: int,
             last: bool = False) -> dict[str, float]:
        """Test the network on every set. Returns Rank-1 and loss, by column of the history."""
        row = {}
        for name, test in self.sets.items():
            scores = recogniser.scores(test.rows)
            rank1 = int((scores.argmax(dim=1) == test.labels).sum()) / len(test.labels)
            loss = cross_entropy(scores, test.labels).item()
            best = self.best[name]["metrics"]["rank1"] if name in self.best else -1.0
            is_best = rank1 > best or (self.rule.ties and rank1 == best)
            if (last or epoch >= self.rule.best_from) and is_best:
                weights = {key: value.clone() for key, value in recogniser.state_dict().items()}
                metrics = {"rank1": rank1, "epoch": epoch, "step": step}
                self.best[name] = {"metrics": metrics, "weights": weights, "scores": scores}
            self.improved |= rank1 >= self.highest[name] or loss <= self.lowest[name]
            self.highest[name] = max(rank1, self.highest[name])
            self.lowest[name] = min(loss, self.lowest[name])
            row |= {f"rank1_{name}": rank1, f"loss_{name}": loss}
        return row

    def end_epoch(self) -> list[str]:
        """Work out the metrics of the new best networks. Returns the tests that have one."""
        new = [name for name, best in self.best.items() if "scores" in best]
        for name in new:
            metrics = evaluate(self.best[name].pop("scores"), self.sets[name].labels)
            self.best[name]["metrics"] |= metrics
        self.count(self.improved)
        self.improved = False
        return new

    def line(self, row: Mapping[str, float]) -> str:
        """The tests of an epoch, for the log."""
        words = []
        for name in self.sets:
            now = f"{100 * row[f'rank1_{name}']:.1f}" if f"rank1_{name}" in row else "-"
            words.append(f"{name} Rank-1 {now}")
            if name in self.best:
                words[-1] += f" (best {100 * self.best[name]['metrics']['rank1']:.1f})"
        return "  ".join(words)


def train(run: Run, encoder: nn.Module, recogniser: Recogniser, persons: np.ndarray,
          training: RecognitionSet, order: np.ndarray, test_sets: Mapping[str, RecognitionSet],
          rule: SelectionRule) -> dict[str, Metrics]:
    """Train the network on the cross entropy of its scores; keep the best of every test, and the
    last. Returns for each test the metrics "best" and "last". InputError if there is no batch.
    run: the phase. encoder: saved with the network. persons: the data files' label of each class.
    order: row numbers of `training`, as every epoch takes its batches.
    """
    settings, whole, device = run.settings, run.options.protocol == "released", training.rows.device
    batches = split_batches(order, rule.batch_size or settings.batch_size, whole, "rows", device,
                            "recognition_batch" if rule.batch_size else "batch_size")
    optimizer = TFAdam(recogniser.to(device).parameters(), rule.lr)
    tests = BestNetworks(test_sets, rule, settings.patience)
    run = with_encoder(run, encoder)
    epochs = Epochs(run, recogniser, limit=settings.recognition_epochs, changeable=CHANGEABLE,
                    keep_model=False, optimizer=optimizer, tests=tests)

    def keep_new() -> None:
        for name in tests.end_epoch():
            if rule.save:
                best = tests.best[name]
                save(run, encoder, recogniser, persons, name, best["weights"], best["metrics"])

    for epoch in epochs:
        with epoch.stage("learn"):
            for number, own in enumerate(batches, epoch.number * len(batches)):
                batch = divide(own, recogniser.tied)
                rows, labels = training.rows[batch.own], training.labels[batch.own]
                epoch.step(optimizer, recogniser.losses(rows, labels), batch)
                if rule.test_every and number % rule.test_every == 0:
                    epoch.row |= tests.test(recogniser, epoch.number + 1, number + 1)
        if rule.test_every is None:
            with epoch.stage("test"):
                step = (epoch.number + 1) * len(batches)
                epoch.row |= tests.test(recogniser, epoch.number + 1, step)
        keep_new()
        epoch.line = tests.line(epoch.row)
    # The last network can be the best. A run that is resumed has not tested it.
    step = {"epoch": epochs.number, "step": epochs.number * len(batches)}
    tests.test(recogniser, **step, last=True)
    keep_new()
    if rule.save:
        save(run, encoder, recogniser, persons, None, recogniser.state_dict(), step)
    metrics = {}
    for name, test in tests.sets.items():
        last = evaluate(recogniser.scores(test.rows), test.labels) | step
        metrics[name] = {"best": tests.best[name]["metrics"], "last": last}
    return metrics


def train_on_features(run: Run, encoder: nn.Module, sets: Recognition, order: np.ndarray,
                      rule: SelectionRule, generator: torch.Generator, combine: str,
                      rng: np.random.RandomState | None = None) -> dict[str, Metrics]:
    """`train` a new network on what an encoder gives of the windows `order`. combine: the logits of
    a window's rows. rng: each row is learned by itself, permuted once; as released of whole batches
    a person.
    """
    settings, protocol = run.settings, run.options.protocol
    rows = encode_rows(encoder, sets.train.skeletons, settings)  # (N, R, d), once
    labels = torch.from_numpy(sets.train.labels).to(rows.device)
    tests = rows_of_tests(encoder, sets.tests, settings, protocol)
    R, width = rows.shape[1:]
    hidden = getattr(settings, "hidden", width)
    network = Recogniser(width, len(sets.persons), hidden, combine, generator)
    if rng is not None:
        if protocol == "released":
            order = padded_batches(sets.train.labels, settings.batch_size)
        order = rng.permutation((order[:, None] * R + np.arange(R)).ravel())
        rows, labels = rows.flatten(0, 1)[:, None], labels.repeat_interleave(R)  # (N R, 1, d)
    phase = run.phase(settings.recogniser(run.options.probe))
    training = RecognitionSet(rows, labels)
    return train(phase, encoder, network, sets.persons, training, order, tests, rule)


def with_encoder(run: Run, encoder: nn.Module) -> Run:
    """The phase, from the start in spite of --resume if what is saved is of another encoder."""
    digest, path = checkpoint.weights_digest(encoder), run.path("last.pt")
    resume = run.options.resume and path.is_file()
    if resume and checkpoint.load(path).get("encoder_digest") != digest:
        log.info(f"{path} is of another encoder: the recogniser is trained from the start")
        resume = False
    return replace(run, options=replace(run.options, resume=resume), encoder_digest=digest)


def save(run: Run, encoder: nn.Module, recogniser: Recogniser, persons: np.ndarray,
         test: str | None, weights: Mapping[str, Tensor], metrics: dict[str, Any]) -> None:
    """Write encoder and network as one checkpoint: best_<test>.pt, or final.pt without a test."""
    weights = {name: x for name, x in weights.items() if not name.startswith("encoder.")}
    part = {"model": weights, "arguments": recogniser.arguments}
    part |= {"test": test, "persons": persons.tolist()}
    file = f"best_{test}.pt" if test else "final.pt"
    run.save_model(encoder, metrics["epoch"], metrics, file, recogniser=part)


def split_batches(order: np.ndarray, size: int, whole: bool, name: str, device: torch.device,
                  option: str = "batch_size") -> list[Tensor]:
    """The batches of the numbers `order` of things called `name`; whole: no incomplete last one."""
    batches = torch.from_numpy(np.asarray(order)).to(device).split(size)
    batches = [batch for batch in batches if len(batch) == size or not whole]
    if not batches or len(order) == 0:
        raise InputError(f"training needs a whole batch of {size} {name}, found {len(order)}; use "
                         f"a smaller --{option}")
    return batches


def summary(metrics: Mapping[str, Metrics], headline: str) -> dict[str, Any]:
    """Metrics as JSON content: (the best of) the headline test on top, below it all tests."""
    row = metrics[headline]
    return {"kind": "recognition", **row.get("best", {}), **row, "tests": dict(metrics)}
