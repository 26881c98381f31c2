"""What every loop over epochs needs: when to stop, seconds of its stages, a progress bar."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from skeleton_reid.common.numbers import counted

RECENT = 5  # epochs that show a collapse


class EarlyStopping:
    """The best metrics so far, and how many epochs have passed without better ones. patience: how
    many end a run; None: any number. metric: the key that is compared, larger is better.
    """
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
        return {"metrics": self.metrics, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.metrics, self.waited = dict(state["metrics"]), state["waited"]


class Timer(ExitStack):
    """A clock for each stage, `with timer("learn"): ...`, and a bar moved by `end_epoch`.
    epochs: in all, None if unknown. first: epochs already done. quiet: no bar, as without a
    terminal. device: waited for at the end of a stage, as work is only launched there. stopping:
    what may end the run before; the bar shows the time until then, if nothing better comes.
    """
    def __init__(self, epochs: int | None, first: int, quiet: bool, device: torch.device,
                 stopping: EarlyStopping | None = None):
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self.epochs, self.device, self.stopping = epochs, device, stopping or EarlyStopping(None)
        bar = tqdm(total=epochs, initial=first, unit="epoch", disable=quiet or None, leave=False)
        self.bar = self.enter_context(bar)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        self.bar.set_postfix_str(stage)
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[stage] += time.perf_counter() - start

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Show that `epoch` epochs are done. Returns the seconds of the last one's stages."""
        if self.stopping.patience is not None:
            end = epoch + self.stopping.patience - self.stopping.waited
            self.bar.total = min(end, self.epochs or end)
        self.bar.update(epoch - self.bar.n)
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds


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
