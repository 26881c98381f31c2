"""The epochs of a training: `for epoch in Epochs(run, model, sets, optimizer=optimizer, rng=rng):`.

The script says what an epoch does, from top to bottom. The iterator does what every epoch needs
around it: resume, score, best and last model, stop rules, seconds, log line, history.csv, report.
It never calls the script. docs/08-architecture.md shows a whole script.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import fit, log
from skeleton_reid.common.numbers import counted
from skeleton_reid.data import Retrieval
from skeleton_reid.data.tracklets import link_windows
from skeleton_reid.engine import baselines, results
from skeleton_reid.engine.clusters import pseudo_labels
from skeleton_reid.engine.encoding import log_sizes
from skeleton_reid.engine.history import EarlyStopping, History, collapse
from skeleton_reid.engine.retrieval import known_classes, score_encoder
from skeleton_reid.engine.run import Run
from skeleton_reid.reid import cluster_quality

Losses = dict[str, Tensor]
ALL_DONE = "all epochs done"  # why most trainings end


class Batch(NamedTuple):
    """A batch of training windows, by number."""

    all: Tensor  # (B,)
    part: slice  # of the batch: what this process takes, all of it if there is one process
    weight: float  # share of the batch that this part is

    @property
    def own(self) -> Tensor:
        """The windows that this process takes."""
        return self.all[self.part]


def divide(numbers: Tensor, tied: bool = False) -> Batch:
    """A batch of these windows (B,), divided among the processes. tied: each process takes all of
    it, because a window's loss depends on the others.
    """
    if tied:
        return Batch(numbers, slice(None), 1 / processes.count())
    return Batch(numbers, *processes.part(len(numbers)))


class Epochs:
    """The epochs that are left of a training.

    With `sets` every epoch can be scored by retrieval: row n of history.csv has the metrics after n
    epochs and the losses of the next one, the model with the best top-1 is kept, and a report ends
    the run. Without, it is the phase of an encoder: row n has the losses of epoch n, and the last
    weights are kept.

    limit: epochs in all (by default --epochs, or none). changeable: settings that may differ on
    --resume. keep_model: write best.pt. save_seconds: between two states in last.pt. parts: what is
    saved beside the model to resume; one that has become `exhausted` ends the training.
    """
    def __init__(self, run: Run, model: nn.Module, sets: Retrieval | None = None, *,
                 limit: int | None = None, changeable: Iterable[str] = ("patience",),
                 keep_model: bool = True, save_seconds: float = 0, **parts: Any):
        self.run, self.model, self.sets, self.keep_model = run, model, sets, keep_model
        self.scored = sets is not None
        self.limit = run.options.epochs if limit is None else limit
        self.save_seconds = save_seconds
        self.best = EarlyStopping(run.settings.patience if sets else None)
        self.parts = {"model": model, **parts}
        if self.scored:
            self.parts["best"] = self.best
        self.history = History(run, self.parts)
        self.number = self.history.begin(tuple(changeable))  # epochs done
        self.reason: str | None = None  # why the training ends
        if self.scored:
            self.warning = collapse(self.history.rows, sets.train.labels)  # told before a --resume
            self.known = known_classes(sets, run.settings.supervision)  # (N,); None: clustered
            if source := run.source:
                log.info(f"{source.size} numbers a frame from {source.file} ({source.note})")
            sizes = {name: len(getattr(sets, name)) for name in ("train", "probe", "gallery")}
            if sets.stored and len(sets.stored.train) != len(sets.train):  # balanced, or a part
                sizes["train"] = f"{len(sets.train)} ({len(sets.stored.train)} stored)"
            log_sizes(run.options, model, sizes, sets.train.skeletons)

    def __iter__(self) -> Iterator["Epochs"]:
        with tqdm(total=self.limit, initial=self.number, unit="epoch", leave=False,
                  disable=self.run.options.quiet or None) as self.bar:
            if not self.scored:
                self.reason = self._stop_reason()
            while self.reason is None:
                self.row: dict[str, float] = {}  # of history.csv
                self.line = ""  # of the log
                self.steps: list[Losses] = []  # losses of the epoch's batches; `step` adds them
                self.clusters: Sequence[np.ndarray] = ()
                self.seconds: dict[str, float] = defaultdict(float)  # of its stages
                yield self
                self._end_epoch()
        if self.scored:
            self._report()
        elif self.keep_model:
            self.run.save_model(self.model, self.number, {})

    def _end_epoch(self) -> None:
        learned = self.reason is None
        if not self.scored:
            self.number += 1
        losses = {name: loss.sum().item() for name, loss in self.mean_losses().items()}
        # Of the parts one may end the run: the bar ends where that is, if nothing better comes.
        stopping = next((p for p in self.parts.values() if isinstance(p, EarlyStopping)), self.best)
        if stopping.patience is not None:
            end = self.number + stopping.patience - stopping.waited
            self.bar.total = min(end, self.limit or end)
        self.bar.update(self.number - self.bar.n)
        self.history.add(self.number, self.row, losses, self.line, self.seconds, self.clusters)
        if not self.scored:
            self.reason = self.reason or self._stop_reason()
            self.history.save(self.number, 0 if self.reason else self.save_seconds)
            return
        if learned:
            self.number += 1
            self.history.save(self.number, self.save_seconds)
        found = collapse(self.history.rows, self.sets.train.labels)
        if found and self.warning is None:
            log.warning(found)
        self.warning = found

    def _report(self) -> None:
        """Print and write best and last metrics, with those of the first epoch and baselines."""
        if not self.best.metrics:
            raise InputError(
                f"nothing was trained: {self.reason}; try another --eps (--search_eps)")
        run, supervision = self.run, {"supervision": self.run.settings.supervision}
        best, last = self.best.metrics | supervision, self.metrics | {"epoch": self.number}
        last |= supervision
        untrained = {name: self.history.rows[0][name] for name in self.metrics}
        rows = baselines.score_all(run.options, self.sets.stored or self.sets, run.source)
        rows |= {run.settings.at_first: untrained}
        rows |= {f"{run.method} best": best, f"{run.method} last": last}
        because = "" if self.reason == ALL_DONE else f" ({self.reason})"
        print(fit(f"{run.title}: stopped after {counted(self.number, 'epoch')}{because}"))
        print(results.retrieval_table(rows))
        content = {**best, "best": best, "last": last, "untrained": untrained, "baselines": rows}
        content |= {"epochs": self.number, "stopped": self.reason, "warning": self.warning}
        run.write_results(content)

    def _stop_reason(self) -> str | None:
        """Why no further epoch is learned, or None."""
        if self.is_last:  # more epochs, if a longer run was resumed
            return ALL_DONE
        if self.best.exhausted:
            return f"no better top-1 for {counted(self.best.patience, 'epoch')}"
        if any(getattr(part, "exhausted", False) for part in self.parts.values()):
            return "nothing better in the last epochs"
        return None

    @property
    def is_last(self) -> bool:
        """Whether the wanted number of epochs is done."""
        return self.limit is not None and self.number >= self.limit

    def end(self, reason: str) -> None:
        """Let the training end here: before this epoch's learning if it is scored, else after."""
        self.reason = reason

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of the epoch: column s_<name>."""
        self.bar.set_postfix_str(name)
        start = time.perf_counter()
        yield
        if (device := next(self.model.parameters()).device).type == "cuda":
            torch.cuda.synchronize(device)  # work is only launched there
        self.seconds[name] += time.perf_counter() - start

    def score(self, keep: bool = True) -> bool:
        """Score the model and keep it if it is the best so far, or unless `keep` the first.

        False: the training ends here, learn no more.
        """
        with self.stage("evaluate"):
            self.metrics = score_encoder(self.model, self.sets, self.run.options.protocol)
        keep = keep or not self.best.metrics
        if keep and self.best.update(self.number, self.metrics) and self.keep_model:
            self.run.save_model(self.model, self.number, self.metrics)
        self.row |= self.metrics
        shares = {title: self.metrics[key] for key, title in results.RETRIEVAL.items()}
        self.line = "  ".join(f"{title} {results.percent(x)}" for title, x in shares.items())
        self.reason = self._stop_reason()
        return self.reason is None

    def cluster(self, views: Sequence[Tensor], whole: Tensor, tight: bool = False,
                **arguments: Any) -> Tensor | None:
        """Pseudo-labels (views, N) of the windows, from features (N, d) of each view; -1: noise.

        Where the classes are known (--tracklets, --labels, a method with labels), these. None, and
        the training ends, if noise leaves less than a batch. whole: features (N, d) of which
        `tight` asks for an analysis. arguments: of reid.jaccard.cluster, but eps and min_samples.
        """
        options, labels = self.run.options, [self.known] * len(views)
        with self.stage("cluster"):
            if self.known is None:
                labels = [pseudo_labels(v, self.tracklets, options, **arguments) for v in views]
            self.describe_clusters(labels, whole, tight)
        noise, least = self.row["outliers"], 1
        if options.protocol == "released":
            least = options.settings.batch_size
        if len(whole) - noise < least:
            self.end(f"no clusters, or less than a batch: {noise} of {len(whole)} are noise")
            return None
        return torch.from_numpy(np.stack(labels).astype(np.int64)).to(whole.device)

    @cached_property
    def tracklets(self) -> Tensor | None:
        """With --link the numbers (N,) of the tracklets that the windows tell by themselves."""
        x = torch.from_numpy(self.sets.train.skeletons).to(next(self.model.parameters()).device)
        return link_windows(x) if self.run.settings.link else None

    def describe_clusters(self, labels: Sequence[np.ndarray], whole: Tensor,
                          tight: bool = False) -> None:
        """Put clusterings (N,) beside the persons: columns of the history, and the log."""
        self.clusters = labels
        self.row |= cluster_quality.metrics(labels, whole, self.sets.train.labels, tight=tight)
        for name, form in (("clusters", "d"), ("noise", "d"), ("AMI", ".3f")):
            values = (f"{self.row[f'{name}_{n}']:{form}}" for n in range(1, len(labels) + 1))
            self.line += f"  {name} {'/'.join(values)}"

    def batches(self, labels: Tensor, size: int, tied: bool = False) -> Iterator[Batch]:
        """Batches, in order, of the windows that are noise (-1) in none of the labels, (views, N)
        or (N,). --protocol released takes whole batches alone. tied: as of `divide`.
        """
        kept = (torch.atleast_2d(labels.long()) >= 0).all(dim=0).nonzero().squeeze(1)
        if not len(kept):
            self.end("no clusters: all windows are noise")
        if self.run.options.protocol == "released":
            kept = kept[:len(kept) // size * size]
        return (divide(batch, tied) for batch in kept.split(size) if len(batch))

    def step(self, optimizer: torch.optim.Optimizer, losses: Losses, batch: Batch,
             clip: float | None = None) -> None:
        """One update of what the optimizer holds on losses["total"], or their sum if there is none.

        losses: of this process's part of the batch. clip: largest absolute value of a gradient.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.zero_grad()
        # Where a batch is tied together, gradients meet within the model: the processes' losses
        # must add up to the batch's before they are followed back.
        losses = {name: batch.weight * loss for name, loss in losses.items()}
        total = losses["total"] if "total" in losses else sum(losses.values())
        total.sum().backward()
        self.steps.append(processes.average_gradients(losses, parameters, weight=1.0))
        if clip is not None:
            torch.nn.utils.clip_grad_value_(parameters, clip)
        optimizer.step()

    def mean_losses(self) -> Losses:
        """Each loss averaged over the batches of the epoch so far, which become its columns."""
        if not self.steps:
            return {}
        stacked = torch.stack([torch.stack(list(losses.values())) for losses in self.steps])
        return dict(zip(self.steps[0], stacked.mean(dim=0), strict=True))
