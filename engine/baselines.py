"""Baselines of retrieval: descriptors, statistics, discriminants, a source's own features."""

from functools import partial
from typing import Any

import numpy as np
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import Retrieval
from skeleton_reid.data.descriptors import DESCRIPTORS, descriptor, session
from skeleton_reid.engine.evaluation import known_classes, load_in_order, score
from skeleton_reid.engine.features import Source
from skeleton_reid.engine.options import BASELINES, TrainingOptions
from skeleton_reid.engine.released import cut
from skeleton_reid.models.statistics import RecordingLDA, WindowLDA, WindowStatistics

FITTED = {"statistics": partial(WindowStatistics, parts=1), "window-LDA": WindowLDA}
FITTED |= {"recording-LDA": RecordingLDA}  # all on the training set


def score_all(options: TrainingOptions, stored: Retrieval | None = None,
              source: Source | None = None) -> dict[str, dict[str, Any]]:
    """Retrieval metrics, or why one is missing, of BASELINES and of the source's own features.

    stored: the sets as they are read for the model, if they are (as the source takes them).
    """
    size, protocol, rows = options.settings.batch_size, options.protocol, {}
    centred = source.centred if source else options.settings.centred
    stored = stored or load_in_order(options, centred)
    sets = cut(stored if centred else load_in_order(options), size, protocol)
    for name in BASELINES:
        try:
            rows[name] = score_descriptor(sets, name, protocol)
        except InputError as error:  # recording-LDA lacks recordings, as all older downloads do
            rows |= {name: {"missing": str(error)}} if name in DESCRIPTORS else {}
    if source is None:
        return rows
    features = [source.features(part, getattr(stored, part)) for part in ("probe", "gallery")]
    kept = len(sets.probe), len(sets.gallery)
    own = [x.features[:n] for x, n in zip(features, kept, strict=True)]
    means = [x.frames[:n].mean(axis=1) for x, n in zip(features, kept, strict=True)]
    rows[source.name] = score(sets, *own, protocol)
    same = (x.shape == y.shape and np.allclose(x, y, atol=1e-5)
            for x, y in zip(means, own, strict=True))
    if not all(same):
        rows[f"{source.name}, mean frame"] = score(sets, *means, protocol)
    return rows


def score_descriptor(sets: Retrieval, name: str, protocol: str) -> dict[str, Any]:
    """Retrieval metrics of one of BASELINES, or of "session" on skeletons that are not centred."""
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
    metrics = score(sets, *(fitted(torch.from_numpy(x)) for x in windows), protocol)
    return metrics | {"supervision": supervision}
