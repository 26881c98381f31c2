"""Seconds spent in the named stages of an epoch, with the current one on a progress bar."""

import time
from collections import defaultdict
from contextlib import contextmanager

import torch
from tqdm import tqdm


class Stages:
    """A progress bar over epochs and a clock for each stage.

    total: epochs in all, None if unknown. first: epochs already done. quiet: no bar. device: waited
    for at the end of a stage, so that the seconds are those of the work and not of its launch.
    """

    def __init__(self, total: int | None, first: int, quiet: bool, device: torch.device):
        self.seconds: dict[str, float] = defaultdict(float)
        self.device = device
        # disable=None shows the bar on a terminal only.
        self.bar = tqdm(
            total=total, initial=first, unit="epoch", disable=True if quiet else None, leave=False
        )

    @contextmanager
    def __call__(self, name: str):
        """Time one stage."""
        self.bar.set_postfix_str(name)
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] += time.perf_counter() - start

    def end_epoch(self) -> dict[str, float]:
        """Advance the bar. Returns the seconds of the stages since the last call and sets them to
        0.
        """
        self.bar.update()
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds
