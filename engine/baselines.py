"""What the papers' tables compare with. Retrieval: descriptors, statistics, discriminants, and a
source's own features. Recognition: classifiers trained on the persons' labels,

    D-13+KNN, D-16+AdaBoost  descriptors of a window, nearest neighbours or boosted trees
    LSTM, LSTM-2             coordinates, one or two LSTM layers (two: row GE of AGE's ablation)

The papers do not say how. Here neighbours vote by inverse distance in standardised descriptors
(metres and ratios have no common unit); boosted are trees, as a stump tells two of up to 164
persons apart; the LSTMs have AGE's width, batches and rate.
"""

import json
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import log
from skeleton_reid.data import Recognition, Retrieval
from skeleton_reid.data.descriptors import DESCRIPTORS, descriptor, session
from skeleton_reid.engine.checkpoint import VERSION
from skeleton_reid.engine.features import Source
from skeleton_reid.engine.history import EarlyStopping
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import BASELINES, TrainingOptions
from skeleton_reid.engine.released import cut
from skeleton_reid.engine.results import write_text
from skeleton_reid.engine.retrieval import known_classes, load_in_order, score
from skeleton_reid.models.statistics import WindowStatistics, recording_lda, window_lda
from skeleton_reid.reid.recognition import evaluate

Metrics = dict[str, dict[str, Any]]  # "best" and "last"
MOST_JOINTS = 75  # of discriminants: their time grows with the joints' sixth power


def score_all(options: TrainingOptions, stored: Retrieval,
              source: Source | None = None) -> dict[str, dict[str, Any]]:
    """Retrieval metrics, or why one is missing, of BASELINES and of the source's own features.

    stored: the sets as they are read for the model or, if there is one, the source.
    """
    size, protocol = options.settings.batch_size, options.protocol
    centred = source.centred if source else options.settings.centred
    sets = cut(stored if centred else load_in_order(options), size, protocol)
    rows = kept_baselines(sets, protocol)
    if source is None:
        return rows
    probe, gallery = (source.features(part, getattr(stored, part)) for part in ("probe", "gallery"))
    P, G = len(sets.probe), len(sets.gallery)  # that are kept
    rows[source.name] = score(sets, probe.features[:P], gallery.features[:G], protocol)
    means = probe.frames[:P].mean(axis=1), gallery.frames[:G].mean(axis=1)
    own = probe.features[:P], gallery.features[:G]
    same = (x.shape == y.shape and np.allclose(x, y, atol=1e-5)
            for x, y in zip(means, own, strict=True))
    if not all(same):
        rows[f"{source.name}, mean frame"] = score(sets, means[0], means[1], protocol)
    return rows


def kept_baselines(sets: Retrieval, protocol: str) -> dict[str, dict[str, Any]]:
    """Metrics of BASELINES. They stay beside the windows, for the next run on the same windows; a
    file for each protocol and test split, which those of other windows replace.
    """
    digest = blake2b(digest_size=8)
    digest.update(f"{VERSION} {protocol} {sets.skeleton.values()}".encode())
    for part in (sets.train, sets.probe, sets.gallery):
        for array in (part.skeletons, part.labels, part.recordings):
            digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    name = "-".join((sets.name, str(sets.length), *sets.paths, protocol))
    file = next(iter(sets.paths.values())).parent / f".baselines-{name}.json"
    if processes.count() == 1:  # several would have to find the same
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # or damaged
            kept = json.loads(file.read_text())
            if kept["windows"] == digest.hexdigest() and {*DESCRIPTORS} <= kept["rows"].keys():
                return kept["rows"]
    rows: dict[str, dict[str, Any]] = {}
    for name in BASELINES:
        try:
            rows[name] = score_descriptor(sets, name, protocol)
        except InputError as error:  # recording-LDA lacks recordings, as all older downloads do
            if name in DESCRIPTORS:
                rows[name] = {"missing": str(error)}
    with suppress(InputError):  # a folder that others own
        if processes.number() == 0:
            write_text(file, json.dumps({"windows": digest.hexdigest(), "rows": rows}))
    return rows


def score_descriptor(sets: Retrieval, name: str, protocol: str) -> dict[str, Any]:
    """Retrieval metrics of one of BASELINES, or of "session" on skeletons that are not centred."""
    if name == "session":
        return score(sets, session(sets.probe), session(sets.gallery), protocol)
    if name in DESCRIPTORS:
        probe, gallery = (descriptor(name, part.skeletons, sets.skeleton)
                          for part in (sets.probe, sets.gallery))
        return score(sets, probe, gallery, protocol)
    if name.endswith("LDA") and len(sets.skeleton) > MOST_JOINTS:
        raise InputError(f"{name}: expected at most {MOST_JOINTS} joints, found "
                         f"{len(sets.skeleton)}: it would take hours; use mean-pose or statistics")
    training, supervision = torch.from_numpy(sets.train.skeletons), "none"
    if name == "recording-LDA":
        supervision = "tracklets"
        encode = recording_lda(training, torch.from_numpy(known_classes(sets, supervision)))
    elif name == "window-LDA":
        encode = window_lda(training)
    else:
        encode = WindowStatistics(len(sets.skeleton)).fit(training)
    probe, gallery = (encode(torch.from_numpy(part.skeletons))
                      for part in (sets.probe, sets.gallery))
    if name == "statistics":  # the means alone
        probe, gallery = (own.chunk(2, dim=1)[0] for own in (probe, gallery))
    return score(sets, probe, gallery, protocol) | {"supervision": supervision}


# Of the classifiers. epochs: at most; patience: epochs without a better Rank-1 of any test that end
# training.
LSTM = {"layers": 1, "hidden": 256, "lr": 0.0005, "batch_size": 128, "epochs": 100, "patience": 20}
SETTINGS = {
    "D-13+KNN": {"neighbours": 5}, "D-16+AdaBoost": {"trees": 100, "depth": 10}, "LSTM": LSTM,
    "LSTM-2": LSTM | {"layers": 2}
}  # fmt: skip
Settings = dict[str, Any]


def recognise(name: str, sets: Recognition, settings: Settings, seed: int, device: torch.device,
              quiet: bool) -> dict[str, Metrics]:
    """Train it and score every test. InputError for descriptors not defined for the joints."""
    log.info(f"{name}: training on {len(sets.train)} sequences of {len(sets.persons)} persons")
    if "layers" in settings:
        return _train_lstm(sets, settings, seed, device, quiet)
    from sklearn import ensemble, neighbors, pipeline, preprocessing, tree  # slow to import

    if "neighbours" in settings:
        count = min(settings["neighbours"], len(sets.train))
        knn = neighbors.KNeighborsClassifier(count, weights="distance")
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), knn)
    else:
        base = tree.DecisionTreeClassifier(max_depth=settings["depth"])
        model = ensemble.AdaBoostClassifier(base, n_estimators=settings["trees"], random_state=seed)
    describe = partial(descriptor, name.partition("+")[0], skeleton=sets.skeleton)
    model.fit(describe(sets.train.skeletons), sets.train.labels)
    metrics = {}
    for test_name, test in sets.tests.items():
        shares = np.zeros((len(test), len(sets.persons)))
        shares[:, model.classes_] = model.predict_proba(describe(test.skeletons))  # of the trained
        # A hundredth is spread evenly: a person without a vote is improbable, not impossible.
        row = evaluate(np.log(0.99 * shares + 0.01 / len(sets.persons)), test.labels)
        metrics[test_name] = {"best": row, "last": row}
    return metrics


class SequenceClassifier(nn.Module):
    """LSTM layers over a window's frames, then a linear layer; PyTorch's initial weights."""
    def __init__(self, joints: int, persons: int, layers: int, hidden: int):
        super().__init__()
        self.lstm = nn.LSTM(3 * joints, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, persons)

    def forward(self, skeletons: Tensor) -> Tensor:
        """Hip-centred skeletons (B, f, J, 3) -> scores (B, persons)."""
        states, _ = self.lstm(skeletons.flatten(2))  # (B, f, hidden)
        return self.output(states[:, -1])


def _train_lstm(sets: Recognition, settings: Settings, seed: int, device: torch.device,
                quiet: bool) -> dict[str, Metrics]:
    torch.manual_seed(seed)
    model = SequenceClassifier(len(sets.skeleton), len(sets.persons), settings["layers"],
                               settings["hidden"]).to(device)
    optimizer = TFAdam(model.parameters(), settings["lr"])
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)
    labels = torch.from_numpy(sets.train.labels).to(device)
    tests = {name: EarlyStopping(settings["patience"], "rank1") for name in sets.tests}
    for epoch in tqdm(range(1, settings["epochs"] + 1), disable=quiet or None, leave=False):
        for batch in torch.randperm(len(labels)).to(device).split(settings["batch_size"]):
            optimizer.zero_grad()
            cross_entropy(model(skeletons[batch]), labels[batch]).backward()
            optimizer.step()
        last = {}
        for name, test in sets.tests.items():
            with torch.no_grad():
                parts = torch.from_numpy(test.skeletons).split(4096)
                scores = torch.cat([model(part.to(device)) for part in parts])
            last[name] = {**evaluate(scores, test.labels), "epoch": epoch}
            tests[name].update(epoch, last[name])
        if all(best.exhausted for best in tests.values()):
            break
    return {name: {"best": best.metrics, "last": last[name]} for name, best in tests.items()}
