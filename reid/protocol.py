"""Retrieval on a data set, and what --protocol full | released changes in it (docs/FIDELITY.md)."""

from dataclasses import replace

import numpy as np

import data
from data import Retrieval, Sequences
from data.descriptors import DESCRIPTORS, descriptor
from reid import ranking
from reid.errors import InputError


def load_retrieval(
    dataset: str,
    probe: str,
    length: int | None,
    root: str,
    rng: np.random.RandomState,
    batch_size: int,
    protocol: str,
    balance: bool = True,
    train: bool = True,
) -> Retrieval:
    """data.load, and for the released protocol every set cut to whole batches of batch_size (line 1)."""
    sets = data.load(
        dataset, probe, length, root, rng=rng, batch_size=batch_size, balance=balance, train=train
    )
    if protocol == "full":
        return sets
    return replace(
        sets,
        train=whole_batches(sets.train, batch_size, "training") if train else None,
        probe=whole_batches(sets.probe, batch_size, "probe"),
        gallery=whole_batches(sets.gallery, batch_size, "gallery"),
    )


def whole_batches(sequences: Sequences, batch_size: int, name: str) -> Sequences:
    """The sequences without the incomplete last batch. Raises InputError if no batch is complete."""
    kept = len(sequences) // batch_size * batch_size
    if kept == 0:
        raise InputError(
            f"--protocol released drops incomplete batches, and the {name} set has only {len(sequences)} sequences "
            f"for batches of {batch_size}: use --protocol full or a smaller --batch_size"
        )
    return sequences.take(np.arange(kept))


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
        sets, descriptor(name, sets.probe.skeletons), descriptor(name, sets.gallery.skeletons), protocol
    )


def baselines(sets: Retrieval, protocol: str) -> dict[str, dict]:
    """Retrieval figures of every descriptor that these joints allow: what a trained model has to beat."""
    found = {}
    for name in DESCRIPTORS:
        try:
            found[name] = score_descriptor(sets, name, protocol)
        except InputError:
            continue  # D-13 and D-16 are not defined for the joints of every data set
    return found
