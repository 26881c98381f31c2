"""Retrieval on a data set: what is loaded, which classes are known, how features are scored."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import Retrieval, loader
from skeleton_reid.data.sampling import training_order
from skeleton_reid.engine import results
from skeleton_reid.engine.encoding import encode_set
from skeleton_reid.engine.options import DataOptions
from skeleton_reid.engine.released import cut
from skeleton_reid.models.simmc import mean_of_clusters
from skeleton_reid.reid import ranking


def load_in_order(options: DataOptions, centred: bool = True, train: bool = True) -> Retrieval:
    """The data set of a command line in the order of its files; the training set if wanted."""
    return loader.load(options.dataset, options.probe, options.length, options.data, balance=False,
                       shuffle=False, centred=centred, train=train)


def load(options: DataOptions, settings: Any, source: Any = None,
         rng: np.random.RandomState | None = None, train: bool | None = None) -> Retrieval:
    """The data set of a command line, with frame features (N, f, d) for skeletons if from a source.

    rng: draws the order of the training set. train: whether that is read, in the order of the files
    if there is no rng (by default with one). `stored` of the result is what was read.
    """
    size, centred = settings.batch_size, source.centred if source else settings.centred
    train = rng is not None if train is None else train
    stored = load_in_order(options, centred, train)
    sets = source.frames(stored) if source else stored
    if rng is not None:
        balance = settings.balance and (options.protocol == "full" or options.dataset.balanced)
        order = training_order(sets.train.labels, size, rng, balance)
        sets = replace(sets, train=sets.train.take(order), order=order)
    return replace(cut(sets, size, options.protocol), stored=stored)


def score(sets: Retrieval, probe_features, gallery_features, protocol: str) -> dict[str, Any]:
    """Retrieval metrics of features (N, d); where recordings are known (and not cut, as released)
    also recording_top1 ... recording_mAP, of whole ones with the mean feature of their windows.
    """
    probe, gallery, full = sets.probe, sets.gallery, protocol == "full"
    metrics = ranking.evaluate(probe_features, probe.labels, gallery_features, gallery.labels,
                               exclude_self=sets.same_set and full, released=sets.same_set
                               and not full)
    if full and probe.recordings is not None and gallery.recordings is not None:
        probe_means, probe_ids = mean_of_recordings(probe_features, probe.labels, probe.recordings)
        gallery_means, gallery_ids = mean_of_recordings(gallery_features, gallery.labels,
                                                        gallery.recordings)
        whole = ranking.evaluate(probe_means, probe_ids, gallery_means, gallery_ids,
                                 exclude_self=sets.same_set)
        metrics |= {f"recording_{name}": whole[name] for name in results.RETRIEVAL}
    return metrics


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
        raise InputError(f"expected recording_id files in {sets.paths['train']}, found none; "
                         "preprocess.py writes them")
    classes, numbers = np.unique(known, return_inverse=True)
    if len(classes) < 2:
        kind = "persons" if supervision == "identities" else "recordings"
        raise InputError(f"expected two {kind} or more to tell apart in {sets.paths['train']}, "
                         "found one")
    return numbers


def score_encoder(model: nn.Module, sets: Retrieval, protocol: str) -> dict[str, Any]:
    """Retrieval metrics of a model on a data set."""
    probe, gallery = (encode_set(model, x.skeletons) for x in (sets.probe, sets.gallery))
    return score(sets, probe, gallery, protocol)
