"""What is known of recordings: retrieval of whole recordings, classes that are known beforehand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from training import history, pick

from skeleton_reid import data
from skeleton_reid.data.files import Sequences
from skeleton_reid.engine.baselines import score_descriptor
from skeleton_reid.engine.methods.simmc import SimMCSettings
from skeleton_reid.engine.methods.statistics import StatisticsSettings
from skeleton_reid.engine.retrieval import known_classes, mean_of_recordings, score
from skeleton_reid.models.statistics import WindowStatistics, recording_lda
from skeleton_reid.reid import ranking


def walks(windows: int, seed: int, persons: int = 4) -> Sequences:
    """Windows (N, 6, 14, 3) of recordings of one to five windows, three recordings a person."""
    rng = np.random.RandomState(seed)
    recordings = np.sort(rng.randint(0, 3 * persons, windows))
    labels = recordings // 3
    poses = np.random.RandomState(9).normal(size=(persons, 1, 14, 3))[labels]
    skeletons = poses + 0.5 * rng.normal(size=(windows, 6, 14, 3))
    return Sequences(skeletons.astype(np.float32), labels, recordings + 100 * seed)


def sets_of(train: Sequences | None = None, same_set: bool = False) -> SimpleNamespace:
    probe, gallery = walks(40, 1), walks(50, 2)
    return SimpleNamespace(train=train, probe=probe, gallery=probe if same_set else gallery,
                           same_set=same_set, skeleton=data.skeleton.get(14),
                           paths={"train": "folder"})


@pytest.mark.parametrize("same_set", [False, True])
def test_whole_recordings(same_set):
    sets, rng = sets_of(same_set=same_set), np.random.RandomState(3)
    probe = rng.normal(size=(40, 5))
    gallery = probe if same_set else rng.normal(size=(50, 5))
    means, labels = [], []
    for features, part in ((probe, sets.probe), (gallery, sets.gallery)):
        names = np.unique(part.recordings)
        means.append([features[part.recordings == name].mean(axis=0) for name in names])
        labels.append([part.labels[part.recordings == name][0] for name in names])
    expected = ranking.evaluate(np.array(means[0]), labels[0], np.array(means[1]), labels[1],
                                exclude_self=same_set)
    metrics = score(sets, probe, gallery, "full")
    whole = {name: metrics[f"recording_{name}"] for name in ("top1", "top5", "top10", "mAP")}
    assert whole == pytest.approx(pick(expected, whole))
    assert not any("recording" in name for name in score(sets, probe, gallery, "released"))


def test_mean_of_recordings_of_one_window_each_are_the_windows():
    features = torch.randn(7, 3)
    numbers = np.random.RandomState(0).permutation(7)
    means, labels = mean_of_recordings(features, numbers * 10, numbers)
    torch.testing.assert_close(means, features[np.argsort(numbers)])
    assert labels.tolist() == sorted(numbers * 10)


def test_known_classes():
    sets = sets_of(train=walks(30, 5))
    for settings in (SimMCSettings(), StatisticsSettings()):
        assert (settings.supervision, known_classes(sets, "none")) == ("none", None)
    settings = SimMCSettings(tracklets=True), SimMCSettings(tracklets=True, labels=True)
    recordings, persons = (known_classes(sets, own.supervision) for own in settings)
    for classes, known in ((recordings, sets.train.recordings), (persons, sets.train.labels)):
        assert classes.min() == 0
        np.testing.assert_array_equal(classes[:, None] == classes, known[:, None] == known)


def test_recording_lda_against_the_dense_eigenproblem():
    train = walks(200, 7)
    x = torch.from_numpy(train.skeletons)
    classes = torch.from_numpy(np.unique(train.recordings, return_inverse=True)[1])
    windows = WindowStatistics(14).fit(x)(x).double().numpy()
    windows = (windows - windows.mean(axis=0)) / windows.std(axis=0)
    means = np.array([windows[train.recordings == r].mean(axis=0) for r in train.recordings])
    within = (windows - means).T @ (windows - means) / len(windows)
    between = np.cov(means.T, bias=True)
    _, vectors = eigh(between, within + 0.01 * np.eye(len(within)))
    expected = windows @ vectors[:, :-7:-1]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    features = recording_lda(x, classes, count=6)(x).numpy()
    np.testing.assert_allclose(features @ features.T, expected @ expected.T, atol=0.02)
    row = score_descriptor(sets_of(train), "recording-LDA", "full")
    assert row["supervision"] == "tracklets"
    assert row["recording_mAP"] > 0.9


def test_simmc_takes_known_classes_for_its_clusters(training, capsys):
    train = training("SimMC")
    assert "expected recording_id files in" in train.error(capsys, "--tracklets")
    folder = data.load("KS20", "probe", 6, train.data, balance=False).paths["train"]
    labels = np.load(folder / "frame_id_KS20_6.npy")
    np.save(folder / "recording_id_KS20_6.npy", np.arange(len(labels)) // 4)
    for option, supervision, clusters in (("--tracklets", "tracklets", len(labels) // 4),
                                          ("--labels", "identities", len(set(labels)))):
        result = train(option, "--epochs", 2, "--no-balance")
        folder = train.out / f"SimMC-{option[2:]}" / "KS20" / "probe"
        assert result["supervision"] == result["best"]["supervision"] == supervision
        assert train.evaluate(folder / "best.pt")["supervision"] == supervision
        rows = history(folder / "history.csv")
        assert [int(row["clusters_1"]) for row in rows[:2]] == [clusters] * 2
        assert int(rows[0]["outliers"]) == 0
