"""Retrieval on a data set, and what --protocol released changes (docs/5-fidelity.md)."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

import data
from common.errors import InputError
from data import Retrieval
from data.descriptors import descriptor, session
from engine.encoding import encode_set
from engine.options import BASELINES, DataOptions
from engine.settings import AGESettings
from models.statistics import WindowLDA, WindowStatistics
from reid import ranking

FITTED = {"statistics": partial(WindowStatistics, parts=1), "window-LDA": WindowLDA}


def load_in_order(options: DataOptions, centred: bool = True, train: bool = True) -> Retrieval:
    """The data set of a command line in the order of its files; the training set if wanted."""
    where = options.dataset, options.probe, options.length, options.data
    return data.load(*where, balance=False, shuffle=False, centred=centred, train=train)


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
    if isinstance(settings, AGESettings):
        return tested_batches(labels, settings.batch_size, f if settings.manner == "ap" else 1)
    return np.arange(released_size(len(labels), settings.batch_size, "test"))


def padded_batches(labels: np.ndarray, batch_size: int) -> np.ndarray:
    """Training windows of AGE's released recogniser, from labels (N,): whole batches a person, who
    has at least one, filled up with the person's first window.
    """
    windows = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        missing = np.repeat(own[0], max(0, batch_size - len(own)))
        whole = max(len(own) // batch_size, 1) * batch_size
        windows.append(np.concatenate([own, missing])[:whole])
    return np.concatenate(windows)


def tested_batches(labels: np.ndarray, batch_size: int, rows: int) -> np.ndarray:
    """The test windows of AGE's released recogniser, from labels (N,): whole batches a person, or
    all if fewer; of these the ones whose `rows` feature rows lie in a whole batch, if there is one.
    """
    own = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    windows = np.concatenate([w[:max(len(w) // batch_size, 1) * batch_size] for w in own])
    total = len(windows) * rows
    used = total // batch_size * batch_size if total >= batch_size else total
    return windows[:used // rows]


def score(sets: Retrieval, probe_features, gallery_features, protocol: str) -> dict[str, Any]:
    """Retrieval figures of features (N, d) of a data set's probe and gallery."""
    return ranking.evaluate(probe_features, sets.probe.labels, gallery_features,
                            sets.gallery.labels, exclude_self=sets.same_set and protocol == "full",
                            released=sets.same_set and protocol == "released")


def score_encoder(model: nn.Module, sets: Retrieval, protocol: str) -> dict[str, Any]:
    """Retrieval figures of a model on a data set."""
    parts = (sets.probe, sets.gallery)
    return score(sets, *(encode_set(model, part.skeletons) for part in parts), protocol)


def score_descriptor(sets: Retrieval, name: str, protocol: str) -> dict[str, Any]:
    """Retrieval figures of one of the BASELINES (those of FITTED need the training set), or of
    "session", on skeletons that are not centred.
    """
    if name == "session":
        return score(sets, session(sets.probe), session(sets.gallery), protocol)
    windows = [part.skeletons for part in (sets.probe, sets.gallery)]
    if name not in FITTED:
        return score(sets, *(descriptor(name, x) for x in windows), protocol)
    fitted = FITTED[name](sets.joints).fit(torch.from_numpy(sets.train.skeletons))
    return score(sets, *(fitted(torch.from_numpy(x)) for x in windows), protocol)


def baselines(sets: Retrieval, protocol: str) -> dict[str, dict[str, Any]]:
    """Retrieval figures of every baseline that these joints allow; the training set is needed."""
    figures = {}
    for name in BASELINES:
        with suppress(InputError):  # D-13 and D-16 are not defined for the joints of every data set
            figures[name] = score_descriptor(sets, name, protocol)
    return figures
