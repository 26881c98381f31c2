"""Retrieval on a data set, and what --protocol released changes (docs/5-fidelity.md)."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import Retrieval, loader
from skeleton_reid.data.descriptors import descriptor, session
from skeleton_reid.engine import results
from skeleton_reid.engine.encoding import encode_set
from skeleton_reid.engine.options import DataOptions
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.models.statistics import RecordingLDA, WindowLDA, WindowStatistics
from skeleton_reid.reid import ranking

FITTED = {"statistics": partial(WindowStatistics, parts=1), "window-LDA": WindowLDA}
FITTED |= {"recording-LDA": RecordingLDA}  # all on the training set


def load_in_order(options: DataOptions, centred: bool = True, train: bool = True) -> Retrieval:
    """The data set of a command line in the order of its files; the training set if wanted."""
    where = options.dataset, options.probe, options.length, options.data
    return loader.load(*where, balance=False, shuffle=False, centred=centred, train=train)


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


def score(sets: Retrieval, probe_features, gallery_features, protocol: str) -> dict[str, Any]:
    """Retrieval figures of features (N, d); where recordings are known (and not cut, as released)
    also recording_top1 ... recording_mAP, of whole ones with the mean feature of their windows.
    """
    same, full = sets.same_set, protocol == "full"
    probe, gallery = (probe_features, sets.probe.labels), (gallery_features, sets.gallery.labels)
    figures = ranking.evaluate(*probe, *gallery, same and full, released=same and not full)
    if full and sets.probe.recordings is not None and sets.gallery.recordings is not None:
        probe = mean_of_recordings(*probe, sets.probe.recordings)
        gallery = mean_of_recordings(*gallery, sets.gallery.recordings)
        whole = ranking.evaluate(*probe, *gallery, same)
        figures |= {f"recording_{name}": whole[name] for name in results.RETRIEVAL}
    return figures


def mean_of_recordings(features, labels: np.ndarray,
                       recordings: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """The mean feature (R, d) and the label (R,) of each recording, of windows (N, d), (N,)."""
    _, first, number = np.unique(recordings, return_index=True, return_inverse=True)
    features = torch.as_tensor(features)
    return mean_of_clusters(features, torch.from_numpy(number).to(features.device)), labels[first]


def known_classes(sets: Retrieval, supervision: str | None) -> np.ndarray | None:
    """The class number of each training window (N,): of its person (identities) or recording
    (tracklets); None without supervision.
    """
    if supervision in (None, "none"):
        return None
    known = sets.train.labels if supervision == "identities" else sets.train.recordings
    if known is None:
        where = f"expected recording_id files in {sets.paths['train']}, found none"
        raise InputError(f"{where}; preprocess.py writes them")
    classes, numbers = np.unique(known, return_inverse=True)
    if len(classes) < 2:
        kind = "persons" if supervision == "identities" else "recordings"
        raise InputError(
            f"expected two {kind} or more to tell apart in {sets.paths['train']}, found "
            "one")
    return numbers


def score_encoder(model: nn.Module, sets: Retrieval, protocol: str) -> dict[str, Any]:
    """Retrieval figures of a model on a data set."""
    parts = (sets.probe, sets.gallery)
    return score(sets, *(encode_set(model, part.skeletons) for part in parts), protocol)


def score_descriptor(sets: Retrieval, name: str, protocol: str) -> dict[str, Any]:
    """Retrieval figures of one of BASELINES, or of "session" on skeletons that are not centred."""
    if name == "session":
        return score(sets, session(sets.probe), session(sets.gallery), protocol)
    windows = [part.skeletons for part in (sets.probe, sets.gallery)]
    if name not in FITTED:
        return score(sets, *(descriptor(name, x, sets.skeleton) for x in windows), protocol)
    supervision = "tracklets" if name == "recording-LDA" else "none"
    training = [sets.train.skeletons]
    if supervision == "tracklets":
        training.append(known_classes(sets, supervision))
    fitted = FITTED[name](len(sets.skeleton)).fit(*map(torch.from_numpy, training))
    figures = score(sets, *(fitted(torch.from_numpy(x)) for x in windows), protocol)
    return figures | {"supervision": supervision}
