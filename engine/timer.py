"""Seconds spent in the stages of an epoch, and a progress bar over the epochs."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tqdm import tqdm

from engine.early_stopping import EarlyStopping


class Timer:
    """A clock for each stage, `with timer("learn"): ...`, and a bar moved by `end_epoch`.

    epochs: in all, None if unknown. first: epochs already done. quiet: no bar; without a terminal
    there is none either. device: waited for at the end of a stage, so that the seconds are those of
    the work and not of its launch. stopping: what may end the run before; the time left that the
    bar shows is until then, if nothing better comes.
    """
    def __init__(self, epochs: int | None, first: int, quiet: bool, device: torch.device,
                 stopping: EarlyStopping | None = None):
        self.seconds: dict[str, float] = defaultdict(float)
        self.epochs, self.device, self.stopping = epochs, device, stopping
        self.bar = tqdm(total=epochs, initial=first, unit="epoch", disable=quiet or None,
                        leave=False)

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
        if self.stopping is not None and self.stopping.patience is not None:
            end = epoch + self.stopping.patience - self.stopping.waited
            self.bar.total = min(end, self.epochs or end)
        self.bar.update(epoch - self.bar.n)
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds

    def __enter__(self) -> "Timer":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()
