"""When training has brought nothing better for long enough."""

from collections.abc import Mapping
from typing import Any


class EarlyStopping:
    """The best figures so far, and how many epochs have passed without better ones.

    patience: how many end a run; None: any. figure: the key that is compared, larger is better.
    """
    def __init__(self, patience: int | None, figure: str = "top1"):
        self.patience, self.figure = patience, figure
        self.figures: dict[str, Any] = {}
        self.waited = 0

    def update(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """Take the figures of an epoch. Returns whether they are the new best."""
        if epoch == 0:  # the untrained model does not count
            return False
        better = not self.figures or figures[self.figure] > self.figures[self.figure]
        if better:
            self.figures = {**figures, "epoch": epoch}
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
        return {"figures": self.figures, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.figures, self.waited = dict(state["figures"]), state["waited"]
