"""Which windows a training reads, in which order, and which of their frames."""

import numpy as np

from skeleton_reid.common.errors import InputError

SUBSET_SIZES = ("1", "f/2", "f-1", "f", "all")


def class_balanced(labels: np.ndarray, batch_size: int, rng: np.random.RandomState) -> np.ndarray:
    """Window numbers resampled to equal class shares, (2 * (N // batch_size) * b * C,) int64.

    labels (N,): person of each window. With C persons, b = batch_size // C, in each of 2 * (N //
    batch_size) rounds i every person in label order gives its windows i*b … (i+1)*b - 1 in stored
    order or, where fewer are left, b draws with replacement from all. InputError if that is empty.
    """
    persons, person_of = np.unique(labels, return_inverse=True)
    share, rounds = batch_size // len(persons), 2 * (len(labels) // batch_size)
    if share == 0 or rounds == 0:
        raise InputError(
            f"class balance needs persons <= batch size <= windows, found {len(labels)} windows, "
            f"batch size {batch_size}, {len(persons)} persons; change --batch_size or --no-balance")
    windows_of = [np.flatnonzero(person_of == person) for person in range(len(persons))]
    order = []
    for start in range(0, rounds * share, share):
        for windows in windows_of:
            enough = start + share <= len(windows)
            order.append(windows[start:start + share] if enough else rng.choice(windows, share))
    return np.concatenate(order)


def training_order(labels: np.ndarray, batch_size: int = 256,
                   rng: np.random.RandomState | None = None, balance: bool = True,
                   shuffle: bool = True, seed: int = 0) -> np.ndarray:
    """Window numbers of the training rows: resampled if `balance`, permuted if `shuffle`."""
    rng = rng or np.random.RandomState(seed)
    order = class_balanced(labels, batch_size, rng) if balance else np.arange(len(labels))
    return order[rng.permutation(len(order))] if shuffle else order


def subset_sizes(f: int, s_range: str = "all", bi: bool = False, pred_margin: int = 0) -> list[int]:
    """The sizes of the subsets of a round of `draw_subsets`; InputError if there are none."""
    if bi and pred_margin:
        raise InputError("bi reads backwards, pred_margin predicts forwards: use one of them")
    last = f - pred_margin
    sizes = {"1": [1], "f/2": [f // 2], "f-1": [f - 1], "f": [f], "all": list(range(1, last + 1))}
    if s_range not in sizes:
        raise InputError(f"unknown s_range {s_range!r}; choose one of {', '.join(SUBSET_SIZES)}")
    if not sizes[s_range] or not 1 <= sizes[s_range][0] <= last:
        raise InputError(f"f = {f} frames, {pred_margin} predicted ahead: no subset {s_range!r}")
    return sizes[s_range]


def draw_subsets(rng: np.random.RandomState, f: int, *, sample_num: int = 1, s_range: str = "all",
                 ord_sample: bool = False, bi: bool = False,
                 pred_margin: int = 0) -> list[np.ndarray]:
    """Subsets of 1 ... f frames, drawn without replacement, in time order, in `sample_num` rounds.

    s_range: only subsets of that size (1, f/2, f-1, f). ord_sample: the first frames instead of
    random ones. bi: as many subsets again, read backwards. pred_margin: leave out the last frames,
    which have no target. Raises InputError for settings under which there is no subset.
    """
    sizes, last = subset_sizes(f, s_range, bi, pred_margin), f - pred_margin
    subsets = []
    for direction in (1, -1) if bi else (1,):
        for size in sizes * sample_num:
            drawn = range(size) if ord_sample else rng.choice(last, size=size, replace=False)
            subsets.append(np.sort(drawn)[::direction])
    return subsets
