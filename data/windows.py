"""Recordings to windows of f frames: where each starts, and the order in which they are stored."""

from collections.abc import Sequence

import numpy as np

from skeleton_reid.data.files import Sequences


def starts(overlap: str, length: int) -> tuple[int, int]:
    """Frames from one window to the next, and how often all recordings are passed over, each time
    from a frame later on.

    overlap: "none", "half", or "shifts", where windows by half are cut in `length` passes, so that
    start frames repeat, as in the published sets.
    """
    half = max(length // 2, 1)
    return {"none": (length, 1), "half": (half, 1), "shifts": (half, length)}[overlap]


def cut_windows(recordings: Sequence[np.ndarray], labels: Sequence[int], length: int, stride: int,
                passes: int = 1) -> Sequences:
    """Windows (N, f, J, 3) in the type of the recordings, in the order: pass, recording, window.

    recordings: at least one array (n, J, 3). Those of the result are numbers in this list.
    """
    pieces = [(number, np.arange(shift,
                                 len(frames) - length + 1, stride)) for shift in range(passes)
              for number, frames in enumerate(recordings)]
    numbers = np.repeat([number for number, _ in pieces], [len(first) for _, first in pieces])
    windows = np.empty((len(numbers), length, *recordings[0].shape[1:]), recordings[0].dtype)
    end = 0
    for number, first in pieces:
        begin, end = end, end + len(first)
        windows[begin:end] = recordings[number][first[:, None] + np.arange(length)]
    return Sequences(windows, np.array(labels)[numbers], numbers)
