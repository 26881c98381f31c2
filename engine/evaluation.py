"""Retrieval on a data set, and what --protocol full | released changes in it (docs/FIDELITY.md)."""

from dataclasses import replace

import numpy as np

from common.errors import InputError
from data import Retrieval, Sequences
from data.descriptors import DESCRIPTORS, descriptor
from reid import ranking


def cut(sets: Retrieval, batch_size: int, protocol: str) -> Retrieval:
    """The sets, for the released protocol without their incomplete last batches (line 1)."""
    if protocol == "full":
        return sets
    return replace(
        sets,
        train=whole_batches(sets.train, batch_size, "training") if sets.train is not None else None,
        probe=whole_batches(sets.probe, batch_size, "probe"),
        gallery=whole_batches(sets.gallery, batch_size, "gallery"),
    )


def whole_batches(sequences: Sequences, batch_size: int, name: str) -> Sequences:
    """The sequences without the incomplete last batch. Raises InputError if no batch is
    complete.
    """
    return sequences.take(np.arange(released_size(len(sequences), batch_size, name)))


def released_size(sequences: int, batch_size: int, name: str) -> int:
    """How many sequences of a set are in complete batches. Raises InputError if none are."""
    kept = sequences // batch_size * batch_size
    if kept == 0:
        raise InputError(
            f"--protocol released drops incomplete batches, and the {name} set has only {sequences} sequences "
            f"for batches of {batch_size}: use --protocol full or a smaller --batch_size"
        )
    return kept


def padded_batches(labels: np.ndarray, batch_size: int) -> np.ndarray:
    """The training windows that AGE's released recogniser sees: whole batches of every person (line
    21).

    labels (N,) -> window numbers, by person: cut to a multiple of batch_size or, where there are
    fewer, filled up with the person's first window.
    """
    chosen = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        missing = np.repeat(own[0], max(0, batch_size - len(own)))
        chosen.append(np.concatenate([own, missing])[: max(len(own) // batch_size, 1) * batch_size])
    return np.concatenate(chosen)


def tested_batches(labels: np.ndarray, batch_size: int, rows: int) -> np.ndarray:
    """The test windows that AGE's released recogniser is scored on (lines 1 and 21).

    labels (N,) -> window numbers, by person: cut to a multiple of batch_size, all where there are
    fewer; then only those of which every one of the `rows` feature rows lies in a whole batch of
    rows, if there is one.
    """
    own = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chosen = np.concatenate([w[: max(len(w) // batch_size, 1) * batch_size] for w in own])
    total = len(chosen) * rows
    used = total // batch_size * batch_size if total >= batch_size else total
    return chosen[: used // rows]


def score(sets: Retrieval, probe_features, gallery_features, protocol: str) -> dict:
    """Retrieval figures of features (N, d) of a data set's probe and gallery."""
    return ranking.evaluate(
        probe_features,
        sets.probe.labels,
        gallery_features,
        sets.gallery.labels,
        exclude_self=sets.same_set and protocol == "full",
        same_set_as_released=sets.same_set and protocol == "released",
    )


def score_descriptor(sets: Retrieval, name: str, protocol: str) -> dict:
    """Retrieval figures of a hand-made descriptor; names in data.descriptors.DESCRIPTORS."""
    return score(
        sets,
        descriptor(name, sets.probe.skeletons),
        descriptor(name, sets.gallery.skeletons),
        protocol,
    )


def baselines(sets: Retrieval, protocol: str) -> dict[str, dict]:
    """Retrieval figures of every descriptor that these joints allow: what a trained model has to
    beat.
    """
    found = {}
    for name in DESCRIPTORS:
        try:
            found[name] = score_descriptor(sets, name, protocol)
        except InputError:
            continue  # D-13 and D-16 are not defined for the joints of every data set
    return found
