"""Training a recognition network on frozen gait features, computed once (AGE and SM-SGE).

Each test set keeps the network with its own best Rank-1; the last one's figures stand beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from common.errors import InputError
from common.log import log
from engine import checkpoint, results
from engine.epochs import EarlyStopping, Timer
from engine.optimizer import TFAdam, train_batch
from engine.recogniser import Recogniser, Rows
from engine.run import Run
from reid.recognition import evaluate

# What may differ on --resume. The encoder's epochs may, because its weights are compared.
CHANGEABLE = ("patience", "pre_epochs", "recognition_epochs")


@dataclass(frozen=True)
class Rules:
    """What differs between the systems; the rest is settings."""

    lr: float
    test_every: int | None = None  # steps over all epochs, from the first on; None: every epoch
    ties: bool = False  # an equal Rank-1 replaces the best one (released: AGE, not SM-SGE)
    best_from: int = 1  # epoch from which the best is kept
    save: bool = True  # keep the networks in files


class BestNetworks:
    """The test sets, and the best network of each: weights, figures with epoch and step.

    patience: epochs that end training if none has, on any test, a Rank-1 as high as the highest
    before or a loss as low as the lowest; None: never.
    """
    def __init__(self, sets: Mapping[str, Rows], rules: Rules, patience: int | None):
        self.sets, self.rules = sets, rules
        self.best: dict[str, dict[str, Any]] = {}  # by test; a new one has its scores (N, C), too
        self.highest = dict.fromkeys(sets, 0.0)
        self.lowest = dict.fromkeys(sets, float("inf"))
        self.stopping = EarlyStopping(patience)
        self.improved = False

    def test(self, recogniser: Recogniser, epoch: int, step: int,
             last: bool = False) -> dict[str, float]:
        """Test the network on every set. Returns Rank-1 and loss, by column of the history."""
        row = {}
        for name, test in self.sets.items():
            scores = recogniser.scores(test.rows)
            rank1 = int((scores.argmax(dim=1) == test.labels).sum()) / len(test.labels)
            loss = cross_entropy(scores, test.labels).item()
            best = self.best[name]["figures"]["rank1"] if name in self.best else -1.0
            is_best = rank1 > best or (self.rules.ties and rank1 == best)
            if (last or epoch >= self.rules.best_from) and is_best:
                weights = {key: value.clone() for key, value in recogniser.state_dict().items()}
                figures = {"rank1": rank1, "epoch": epoch, "step": step}
                self.best[name] = {"figures": figures, "weights": weights, "scores": scores}
            self.improved |= rank1 >= self.highest[name] or loss <= self.lowest[name]
            self.highest[name] = max(rank1, self.highest[name])
            self.lowest[name] = min(loss, self.lowest[name])
            row |= {f"rank1_{name}": rank1, f"loss_{name}": loss}
        return row

    def end_epoch(self) -> list[str]:
        """Work out the figures of the new best networks. Returns the tests that have one."""
        new = [name for name, best in self.best.items() if "scores" in best]
        for name in new:
            figures = evaluate(self.best[name].pop("scores"), self.sets[name].labels)
            self.best[name]["figures"] |= figures
        self.stopping.count(self.improved)
        self.improved = False
        return new

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "highest", "lowest")
        return {name: getattr(self, name) for name in names} | {"waited": self.stopping.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.highest, self.lowest = state["best"], state["highest"], state["lowest"]
        self.stopping.waited = state["waited"]


def train(run: Run, encoder: nn.Module, recogniser: Recogniser, persons: np.ndarray, training: Rows,
          order: np.ndarray, test_sets: Mapping[str, Rows],
          rules: Rules) -> dict[str, dict[str, dict[str, Any]]]:
    """Train the network on the cross entropy of its scores; keep the best of every test, and the
    last. Returns for each test the figures "best" and "last". InputError if there is no batch.

    run: the phase. encoder: saved with the network. persons: the data files' label of each class.
    order: row numbers of `training`, as every epoch takes its batches.
    """
    device, settings = training.rows.device, run.settings
    whole, epochs = run.options.protocol == "released", settings.recognition_epochs
    batches = split_batches(order, settings.batch_size, whole, "rows", device)
    keep = partial(save, run, encoder, recogniser, persons) if rules.save else lambda *_, **__: None
    optimizer = TFAdam(recogniser.to(device).parameters(), rules.lr)
    tests = BestNetworks(test_sets, rules, settings.patience)
    parts = {"recogniser": recogniser, "optimizer": optimizer, "tests": tests}
    epoch = _resume(run, encoder, parts)
    with Timer(epochs, epoch, run.options.quiet, device, tests.stopping) as timer:
        while epoch < epochs and not tests.stopping.exhausted:
            row, losses = {}, torch.zeros(len(batches), device=device)
            with timer("learn"):
                for number, batch in enumerate(batches):
                    rows, labels = training.rows[batch], training.labels[batch]
                    losses[number] = train_batch(recogniser, optimizer, rows, labels)
                    step = epoch * len(batches) + number + 1
                    if rules.test_every and (step - 1) % rules.test_every == 0:
                        row |= tests.test(recogniser, epoch + 1, step)
            epoch += 1
            if rules.test_every is None:
                with timer("test"):
                    row |= tests.test(recogniser, epoch, epoch * len(batches))
            for name in tests.end_epoch():
                keep(name, **tests.best[name])
            loss = {"loss": losses.mean().item()}
            run.end_epoch(epoch, row, loss, _line(row, tests), timer.end_epoch(epoch))
            run.save_last(epoch, parts)
    # The last network can be the best. A run that is resumed knows nothing of this test.
    where = {"epoch": epoch, "step": epoch * len(batches)}
    tests.test(recogniser, **where, last=True)
    tests.end_epoch()
    figures = {}
    for name, test in tests.sets.items():
        keep(name, **tests.best[name])
        last = {**evaluate(recogniser.scores(test.rows), test.labels), **where}
        figures[name] = {"best": tests.best[name]["figures"], "last": last}
    keep(None, recogniser.state_dict(), where)
    return figures


def _resume(run: Run, encoder: nn.Module, parts: Mapping[str, Any]) -> int:
    """The epoch to begin with; 0 if the work that is saved is on features of another encoder."""
    run.identity["encoder_digest"] = checkpoint.weights_digest(encoder)
    path = run.path("last.pt")
    if run.options.resume and path.is_file():
        if checkpoint.load(path).get("encoder_digest") == run.identity["encoder_digest"]:
            return run.resume(parts, CHANGEABLE)
        log.info(f"{path} is of another encoder: the recogniser is trained from the start")
    run.archive_previous()
    return 0


def save(run: Run, encoder: nn.Module, recogniser: Recogniser, persons: np.ndarray,
         test: str | None, weights: Mapping[str, Tensor], figures: dict[str, Any]) -> None:
    """Write encoder and network as one checkpoint: best_<test>.pt, or final.pt without a test."""
    part = {"model": dict(weights), "arguments": recogniser.arguments, "test": test}
    part["persons"] = [int(person) for person in persons]
    file = f"best_{test}.pt" if test else "final.pt"
    run.save_best(encoder, figures["epoch"], figures, file, recogniser=part)


def split_batches(order: np.ndarray, size: int, whole: bool, name: str,
                  device: torch.device) -> list[Tensor]:
    """The batches of the numbers `order` of things called `name`; whole: no incomplete last one."""
    batches = torch.from_numpy(np.asarray(order)).to(device).split(size)
    batches = [batch for batch in batches if len(batch) == size or not whole]
    if not batches or len(order) == 0:
        raise InputError(f"training needs a whole batch of {size} {name}, found {len(order)}; use "
                         "a smaller --batch_size")
    return batches


def summary(figures: Mapping[str, Mapping[str, Any]], headline: str) -> dict[str, Any]:
    """Figures as JSON content: (the best of) the headline test on top, below it all tests."""
    row = figures[headline]
    return {"kind": "recognition", **row.get("best", {}), **row, "tests": dict(figures)}


def table(figures: Mapping[str, Mapping[str, Any]], method: str, corner: str = "") -> str:
    """Figures of every test, as text; best and last where there are epochs. corner: the title."""
    rows = []
    for name, row in figures.items():
        if "epoch" in row.get("best", ()):
            rows += [(f"{method} {name} {which}", row[which]) for which in ("best", "last")]
        else:
            rows.append((f"{method} {name}", row.get("best", row)))
    return results.recognition_table(rows, corner)


def _line(row: Mapping[str, float], tests: BestNetworks) -> str:
    """The tests of an epoch, for the log."""
    words = []
    for name in tests.sets:
        now = f"{100 * row[f'rank1_{name}']:.1f}" if f"rank1_{name}" in row else "-"
        best = tests.best.get(name)
        best = f" (best {100 * best['figures']['rank1']:.1f})" if best else ""
        words.append(f"{name} Rank-1 {now}{best}")
    return "  ".join(words)
