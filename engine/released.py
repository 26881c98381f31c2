"""What --protocol released leaves out or repeats, as published code does (docs/05-fidelity.md)."""

from dataclasses import replace
from typing import Any

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import Retrieval


def cut(sets: Retrieval, batch_size: int, protocol: str) -> Retrieval:
    """The sets, for the released protocol without their incomplete last batches."""
    if protocol == "full":
        return sets
    whole = {}
    for name, words in {"train": "training", "probe": "probe", "gallery": "gallery"}.items():
        if (part := getattr(sets, name)) is not None:
            whole[name] = part.take(np.arange(released_size(len(part), batch_size, words)))
    return replace(sets, **whole)


def released_size(sequences: int, batch_size: int, name: str) -> int:
    """How many sequences of a set are in complete batches. Raises InputError if none are."""
    kept = sequences // batch_size * batch_size
    if kept == 0:
        raise InputError(f"--protocol released wants whole batches, and the {name} set has only "
                         f"{sequences} sequences: use a --batch_size below {batch_size}")
    return kept


def released_test(settings: Any, labels: np.ndarray, f: int) -> np.ndarray:
    """Test windows that the released AGE or SM-SGE is scored on, from labels (N,) and f frames."""
    if hasattr(settings, "manner"):  # AGE and SGELA
        return tested_batches(labels, settings.batch_size, f if settings.manner == "ap" else 1)
    return np.arange(released_size(len(labels), settings.batch_size, "test"))


def padded_batches(labels: np.ndarray, batch_size: int) -> np.ndarray:
    """Training windows of AGE's released recogniser, from labels (N,): whole batches a person, who
    has at least one, filled up with the person's first window.
    """
    own = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    filled = [np.append(w, np.repeat(w[0], max(0, batch_size - len(w)))) for w in own]
    return np.concatenate([w[:len(w) // batch_size * batch_size] for w in filled])


def tested_batches(labels: np.ndarray, batch_size: int, rows: int) -> np.ndarray:
    """The test windows of AGE's released recogniser, from labels (N,): whole batches a person, or
    all if fewer; of these the ones whose `rows` feature rows lie in a whole batch, if there is one.
    """
    own = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    windows = np.concatenate([w[:max(len(w) // batch_size, 1) * batch_size] for w in own])
    total = len(windows) * rows
    used = total // batch_size * batch_size if total >= batch_size else total
    return windows[:used // rows]
