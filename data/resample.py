"""The order of the training windows: equal class shares, then one permutation."""

import numpy as np

from common.errors import InputError


def class_balanced(labels: np.ndarray, batch_size: int, rng: np.random.RandomState) -> np.ndarray:
    """Window numbers resampled to equal class shares, (2 * (N // batch_size) * b * C,) int64.

    labels (N,): person of each window. With C persons, b = batch_size // C, in each of 2 * (N //
    batch_size) rounds i every person in label order gives its windows i*b … (i+1)*b - 1 in stored
    order or, where fewer than b are left, b draws with replacement from all its windows.
    InputError if that is empty.
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
