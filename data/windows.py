"""Recordings to windows of f frames: where each starts, and the order in which they are stored."""

from collections.abc import Callable, Sequence

import numpy as np

from skeleton_reid.data.files import Sequences

# (frames of a recording, window length f) -> one array of start frames for each pass over it
Starts = Callable[[int, int], list[np.ndarray]]


def at_stride(stride: int, frames: int, length: int) -> list[np.ndarray]:
    """One pass: windows from frame 0 on, `stride` frames from one to the next, the tail dropped."""
    return [np.arange(0, frames - length + 1, stride)]


def back_to_back(frames: int, length: int) -> list[np.ndarray]:
    """One pass: windows end to end from frame 0."""
    return at_stride(length, frames, length)


def half_overlapping(frames: int, length: int) -> list[np.ndarray]:
    """One pass: windows with stride length // 2 from frame 0."""
    return at_stride(max(length // 2, 1), frames, length)


def every_shift(frames: int, length: int) -> list[np.ndarray]:
    """`length` passes: for shift s = 0 ... length - 1, windows with stride length // 2 from s on.

    Start frames repeat; that is how the published training sets are made.
    """
    return [np.arange(shift, frames - length + 1, max(length // 2, 1)) for shift in range(length)]


def cut_windows(recordings: Sequence[np.ndarray], labels: Sequence[int], length: int,
                starts: Starts) -> Sequences:
    """Windows (N, f, J, 3) in the type of the recordings, in the order: shift, recording, window.

    recordings: at least one array (n, J, 3). Those of the result are numbers in this list.
    """
    passes = zip(*(starts(len(frames), length) for frames in recordings), strict=True)
    pieces = [(number, first) for each in passes for number, first in enumerate(each)]
    numbers = np.repeat([number for number, _ in pieces], [len(first) for _, first in pieces])
    windows = np.empty((len(numbers), length, *recordings[0].shape[1:]), recordings[0].dtype)
    end = 0
    for number, first in pieces:
        begin, end = end, end + len(first)
        windows[begin:end] = recordings[number][first[:, None] + np.arange(length)]
    return Sequences(windows, np.array(labels)[numbers], numbers)
