"""Training a recognition network on frozen gait features: what AGE and SM-SGE share.

The encoder is frozen and has no randomness, so its features are computed once. Each test set keeps
the network with its own best Rank-1, and the figures of the last one stand beside them. Files of a
run's phase: best_<test>.pt and final.pt (encoder and network, for evaluate.py), last.pt (to
resume), history.csv.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from common.command_line import log
from common.errors import InputError
from engine import checkpoint, results
from engine.optimizer import TFAdam
from engine.recognisers import Recogniser, Rows, save
from engine.run import Run, digest_of
from engine.timer import Stages
from reid.recognition import evaluate

# What may differ on --resume. The encoder's epochs may, because its weights are compared.
CHANGEABLE = ("patience", "pre_epochs", "recognition_epochs")


@dataclass(frozen=True)
class Plan:
    """How the network is trained, by TensorFlow's Adam on the mean cross entropy of the scores.

    epochs, batch_size, lr. whole_batches: leave out an incomplete last batch. test_every: steps
    from one test to the next, counted over all epochs, the first after step 1; None: at the end of
    every epoch. ties: whether an equal Rank-1 replaces the best one (the released code does for
    AGE, not for SM-SGE). best_from: tests of earlier epochs (from 1) are not kept. patience: epochs
    that end training if in them no test had a Rank-1 as high as the highest before, or a loss as
    low as the lowest; None: never. save: whether the networks are kept in files.
    """

    epochs: int
    batch_size: int
    lr: float
    whole_batches: bool = False
    test_every: int | None = None
    ties: bool = False
    best_from: int = 1
    patience: int | None = None
    save: bool = True


class Watch:
    """The test sets, the best network of each, and how long ago any of them improved."""

    def __init__(self, sets: Mapping[str, Rows], plan: Plan):
        self.sets, self.plan = sets, plan
        self.best: dict[
            str, dict[str, Any]
        ] = {}  # by test: weights, and figures with epoch and step
        self.highest = dict.fromkeys(sets, 0.0)
        self.lowest = dict.fromkeys(sets, float("inf"))
        self.waited = 0
        self.improved = False
        self.found: dict[str, dict[str, Any]] = {}  # bests since the last end of an epoch

    def look(
        self, recogniser: Recogniser, epoch: int, step: int, last: bool = False
    ) -> dict[str, float]:
        """Test the network on every set. Returns Rank-1 and loss, by column of the history."""
        row = {}
        for name, test in self.sets.items():
            scores = recogniser.scores(test.rows)
            rank1 = int((scores.argmax(dim=1) == test.labels).sum()) / len(test.labels)
            loss = cross_entropy(scores, test.labels).item()
            if (last or epoch >= self.plan.best_from) and self._is_best(name, rank1):
                weights = {key: value.clone() for key, value in recogniser.state_dict().items()}
                where = {"epoch": epoch, "step": step}
                self.found[name] = {
                    "scores": scores,
                    "rank1": rank1,
                    "weights": weights,
                    "where": where,
                }
            self.improved |= rank1 >= self.highest[name] or loss <= self.lowest[name]
            self.highest[name] = max(rank1, self.highest[name])
            self.lowest[name] = min(loss, self.lowest[name])
            row |= {f"rank1_{name}": rank1, f"loss_{name}": loss}
        return row

    def _is_best(self, name: str, rank1: float) -> bool:
        before = self.found.get(name) or self.best.get(name, {}).get("figures") or {"rank1": -1.0}
        return rank1 > before["rank1"] or (self.plan.ties and rank1 == before["rank1"])

    def end_epoch(self) -> list[str]:
        """Work out the figures of the new best networks. Returns the tests that have one."""
        for name, new in self.found.items():
            figures = {**evaluate(new["scores"], self.sets[name].labels), **new["where"]}
            self.best[name] = {"figures": figures, "weights": new["weights"]}
        self.waited = 0 if self.improved else self.waited + 1
        names, self.found, self.improved = list(self.found), {}, False
        return names

    @property
    def exhausted(self) -> bool:
        """Whether `patience` epochs brought no improvement."""
        return self.plan.patience is not None and self.waited >= self.plan.patience

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "highest", "lowest", "waited")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def train(
    run: Run,
    encoder: nn.Module,
    recogniser: Recogniser,
    persons: np.ndarray,
    training: Rows,
    order: np.ndarray,
    test_sets: Mapping[str, Rows],
    plan: Plan,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Train the network; keep the best one of every test, and the last.

    run: the phase that the files belong to. encoder: the frozen model of the features, saved with
    the network. persons: the data files' label of each class. order: row numbers of `training`, in
    the order in which every epoch takes its batches. test_sets: by name.
    Returns for each test the figures "best" and "last", those of reid.recognition.evaluate with
    epoch and step. With --resume it goes on after the last finished epoch, if that was on features
    of this very encoder. Raises InputError if there is no batch to train on.
    """
    device = training.rows.device
    batches = split_batches(order, plan.batch_size, plan.whole_batches, "rows", device)
    optimizer = TFAdam(recogniser.parameters(), plan.lr)
    compute = partial(backward, recogniser)
    tests = Watch(test_sets, plan)
    fingerprint = Fingerprint(encoder)
    parts = {
        "encoder": fingerprint,
        "recogniser": recogniser,
        "optimizer": optimizer,
        "tests": tests,
    }
    epoch = 0
    if fingerprint.saved_in(run):
        epoch = run.resume(parts, CHANGEABLE)
    else:
        run.set_aside()
    stages = Stages(plan.epochs, epoch, run.args.quiet, device)
    while epoch < plan.epochs and not tests.exhausted:
        row, losses = {}, torch.zeros(len(batches), device=device)
        with stages("learn"):
            for number, batch in enumerate(batches):
                losses[number] = compute(training.rows[batch], training.labels[batch])
                optimizer.step()
                step = epoch * len(batches) + number + 1
                if plan.test_every and (step - 1) % plan.test_every == 0:
                    row |= tests.look(recogniser, epoch + 1, step)
        epoch += 1
        if plan.test_every is None:
            with stages("test"):
                row |= tests.look(recogniser, epoch, epoch * len(batches))
        for name in tests.end_epoch():
            if plan.save:
                save(run, name, encoder, recogniser, persons, **tests.best[name])
        row = {"epoch": epoch, "loss": losses.mean().item(), **row}
        run.end_epoch(row, _line(row, tests), stages.end_epoch())
        run.save_last(epoch, parts)
    return _finish(run, encoder, recogniser, persons, tests, epoch, epoch * len(batches))


def learn_batch(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor
) -> Tensor:
    """One step of a network that gives a score for each person, on a batch of B inputs and classes
    (B,).

    Returns the mean cross entropy before it.
    """
    loss = backward(model, inputs, labels)
    optimizer.step()
    return loss


def backward(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Set the gradients to those of the mean cross entropy of a network's scores, which is
    returned, detached.
    """
    model.zero_grad()
    loss = cross_entropy(model(inputs), labels)
    loss.backward()
    return loss.detach()


def split_batches(
    order: np.ndarray, size: int, whole: bool, name: str, device: torch.device
) -> list[Tensor]:
    """The fixed batches of the numbers `order`; whole: without an incomplete last one.

    Raises InputError, in which `name` is what the numbers stand for, if there is no batch.
    """
    batches = torch.from_numpy(np.asarray(order)).to(device).split(size)
    batches = [batch for batch in batches if len(batch) == size or not whole]
    if not batches or len(order) == 0:
        raise InputError(
            f"training needs a whole batch of {size} {name}, found {len(order)}; "
            "use a smaller --batch_size or --protocol full"
        )
    return batches


def _finish(
    run, encoder, recogniser, persons, tests: Watch, epoch: int, step: int
) -> dict[str, dict]:
    """Test the last network, which can be the best one too, and save all that are kept.

    This comes after last.pt is written: a run that is gone on with must not know of it.
    """
    tests.look(recogniser, epoch, step, last=True)
    tests.end_epoch()
    found = {}
    for name, test in tests.sets.items():
        if tests.plan.save:
            save(run, name, encoder, recogniser, persons, **tests.best[name])
        last = {**evaluate(recogniser.scores(test.rows), test.labels), "epoch": epoch, "step": step}
        found[name] = {"best": tests.best[name]["figures"], "last": last}
    where = {"epoch": epoch, "step": step}
    if tests.plan.save:
        save(run, None, encoder, recogniser, persons, recogniser.state_dict(), where)
    return found


class Fingerprint:
    """A digest of a model's weights: whether saved work on its features can be gone on with."""

    def __init__(self, model: nn.Module):
        self.digest = digest_of(model)

    def saved_in(self, run: Run) -> bool:
        """Whether the run's last.pt, if any, was made with this model; a line of the log says so if
        not.
        """
        path = run.path("last.pt")
        if not run.args.resume or not path.is_file():
            return False
        same = checkpoint.load(path)["state"]["encoder"] == self.state_dict()
        if not same:
            log.info(
                f"{path} was made with another encoder: the recognition network is trained from the start"
            )
        return same

    def state_dict(self) -> dict[str, str]:
        return {"digest": self.digest}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        self.digest = state["digest"]


def summary(found: Mapping[str, Mapping[str, Any]], headline: str) -> dict[str, Any]:
    """The JSON content of a training run: the headline test's best figures on top, every test's
    below.
    """
    row = found[headline]
    return {
        "kind": "recognition",
        **row["best"],
        "best": row["best"],
        "last": row["last"],
        "tests": dict(found),
    }


def table(found: Mapping[str, Mapping[str, Any]], method: str, corner: str = "") -> str:
    """The best and the last figures of every test, as text. corner: the table's title."""
    rows = [
        (f"{method} {name} {which}", row[which])
        for name, row in found.items()
        for which in ("best", "last")
    ]
    return results.recognition_table(rows, corner)


def _line(row: Mapping[str, float], tests: Watch) -> str:
    """One line for the log."""
    line = f"loss {row['loss']:.4f}"
    for name in tests.sets:
        now = f"{100 * row[f'rank1_{name}']:.1f}" if f"rank1_{name}" in row else "-"
        best = (
            f" (best {100 * tests.best[name]['figures']['rank1']:.1f})"
            if name in tests.best
            else ""
        )
        line += f"  {name} Rank-1 {now}{best}"
    return line
