"""What the last epochs say: whether to stop, and whether learning has collapsed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skeleton_reid.common.numbers import counted

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
