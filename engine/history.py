"""What a training keeps of its epochs: the best metrics, history.csv, TensorBoard's events, last.pt
to resume; whether the last ones look like a collapse.
"""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import write_whole
from skeleton_reid.common.log import log
from skeleton_reid.common.numbers import counted
from skeleton_reid.engine import checkpoint, results
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.run import Run

RECENT = 5  # epochs that show a collapse


class EarlyStopping:
    """The best metrics so far, and how many epochs have passed without better ones. patience: how
    many end a run; None: any number. metric: the key that is compared, larger is better.
    """

    saved = ("metrics", "waited")  # to resume

    def __init__(self, patience: int | None, metric: str = "top1"):
        self.patience, self.metric = patience, metric
        self.metrics: dict[str, Any] = {}
        self.waited = 0

    def update(self, epoch: int, metrics: Mapping[str, Any]) -> bool:
        """Take the metrics of an epoch. Returns whether they are the new best."""
        if epoch == 0:  # the untrained model does not count
            return False
        better = not self.metrics or metrics[self.metric] > self.metrics[self.metric]
        if better:
            self.metrics = {**metrics, "epoch": epoch}
        self.count(better)
        return better

    def count(self, better: bool) -> None:
        """Count an epoch, which has brought something better or not."""
        self.waited = 0 if better else self.waited + 1

    @property
    def exhausted(self) -> bool:
        """Whether `patience` epochs have brought nothing better."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.saved}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.saved:
            setattr(self, name, state[name])


class History:
    """The epochs of a run. parts: of the training by name (models, optimisers, generators)."""
    def __init__(self, run: Run, parts: Mapping[str, Any]):
        self.run, self.parts = run, parts
        self.rows: list[dict[str, Any]] = []  # of history.csv
        self.saved = -math.inf  # when last.pt was written
        self.writer = None  # of TensorBoard's events

    def begin(self, changeable: Collection[str] = ("patience",)) -> int:
        """Restore the parts from last.pt and return the number of finished epochs (0 without
        --resume). InputError if there is none, or of other settings than the changeable ones.
        """
        run, path, finished = self.run, self.run.path("last.pt"), 0
        for place in (run, run.parent or run):
            for left in place.folder.glob(f".{run.prefix}*.tmp"):  # by a run that was killed
                left.unlink(missing_ok=True)
        if run.options.resume:
            content = checkpoint.load(path, run.method)
            processes.wait()  # until all have read it
            checkpoint.expect(path, content, run.identity)
            checkpoint.expect_windows(path, content, run.data)
            wanted = {n: v for n, v in asdict(run.settings).items() if n not in changeable}
            checkpoint.expect(path, asdict(settings_of(content)), wanted)
            for name, part in self.parts.items():
                try:
                    checkpoint.restore(part, content["state"][name])
                except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                    raise checkpoint.other_version(path, content, f"{name}: {error}") from error
            self.rows, finished = content["history"], content["epoch"]
            log.info(f"resumed after {finished} epochs")
        else:
            run.archive_previous()
        if run.parent:
            log.info(f"epochs of {run.folder}:")
        run.write_record()
        return finished

    def save(self, epoch: int, seconds: float = 0) -> None:
        """Write last.pt after some epochs, unless one is younger than some seconds."""
        if time.monotonic() - self.saved >= seconds:
            self.saved = time.monotonic()
            state = {name: checkpoint.state_of(part) for name, part in self.parts.items()}
            self.run.save("last.pt", epoch=epoch, state=state, history=self.rows)

    def add(self, epoch: int, metrics: Mapping, losses: Mapping[str, float], line: str,
            seconds: Mapping[str, float], clusters: Sequence[np.ndarray] = ()) -> None:
        """Log an epoch, its metrics as `line`, and add it to history.csv. InputError for a loss
        that is not finite. clusters: labels (N,), -1 for noise.
        """
        total = {"total": losses["total"]} if "total" in losses else losses
        shown = "  ".join(filter(None, [line, *(f"{n} {x:.4g}" for n, x in total.items())]))
        log.info(f"epoch {epoch:3d}  {shown}  {sum(seconds.values()):.1f} s")
        for name, value in losses.items():
            if not math.isfinite(value):
                raise InputError(f"training diverged: {name} is {value}; try a smaller --lr")
        times = {f"s_{name}": round(value, 3) for name, value in seconds.items()}
        self.rows.append({"epoch": epoch, **metrics, **losses, **times})
        results.write_text(self.run.path("history.csv"), results.as_csv(self.rows))
        if self.run.options.tensorboard and processes.number() == 0:
            scalars = {"metrics": metrics, "losses": losses, "seconds": seconds}
            self._write_events(epoch, scalars, clusters)

    def _write_events(self, epoch: int, scalars: dict[str, Mapping[str, float]],
                      clusters: Sequence[np.ndarray]) -> None:
        """Add an epoch, its learning rates and its cluster sizes to TensorBoard's event file."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter  # here, because it is slow to load

            self.writer = SummaryWriter(self.run.path("tensorboard"), purge_step=epoch)
            self.run.at_the_end.callback(self.writer.close)
        optimizers = {name: getattr(part, "optimizer", part) for name, part in self.parts.items()}
        scalars["rates"] = {
            name: part.param_groups[0]["lr"] for name, part in optimizers.items()
            if hasattr(part, "param_groups")
        }
        for group, values in scalars.items():
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, epoch)
        for number, labels in enumerate(clusters, 1):
            sizes = np.bincount(labels[labels >= 0])
            if len(sizes):
                self.writer.add_histogram(f"cluster_sizes/{number}", sizes, epoch)
        self.writer.flush()

    def save_arrays(self) -> None:
        """Write every column as an array file, NaN where an epoch has no value."""
        for name in dict.fromkeys(name for row in self.rows for name in row):
            array = np.array([row.get(name, np.nan) for row in self.rows], dtype=np.float64)
            write_whole(self.run.path("arrays") / f"{name}.npy", partial(np.save, arr=array))


def collapse(rows: Sequence[Mapping[str, float]], persons: np.ndarray) -> str | None:
    """A line if the last RECENT epochs look like a collapse, and what to try; else None.

    rows: of history.csv, from the untrained model on. persons: (N,) of the training windows.
    """
    if len(rows) <= RECENT:
        return None
    _, counts = np.unique(persons, return_counts=True)
    clustered = [row for row in rows if "clusters_1" in row][-RECENT:]
    scored = [row["top1"] for row in rows[1:] if "top1" in row][-RECENT:]
    found = {
        name: [row.get(name, 0) for row in clustered]
        for name in ("clusters_1", "largest_1", "purity_1")
    }
    if clustered and 2 * max(found["clusters_1"]) < len(counts):
        number = counted(found["clusters_1"][-1], "cluster")
        problem = f"{number} for {len(counts)} persons"
    elif clustered and min(found["largest_1"]) > 0.9 * len(persons):
        problem = "one cluster holds nearly all windows"
    elif clustered and max(found["purity_1"]) < 1.5 * counts.max() / len(persons):
        problem = "the purity of the clusters is at chance"
    elif scored and max(scored) < rows[0]["top1"]:
        problem = f"top-1 is {scored[-1]:.1%}, below the untrained model's {rows[0]['top1']:.1%}"
    else:
        return None
    return (f"learning may have collapsed: {problem}; try another --eps (--search_eps), a smaller "
            "--lr or more data")
