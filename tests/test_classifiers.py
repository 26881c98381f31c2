"""The classifiers of the recognition tables: they learn, repeat themselves, and refuse what they
cannot do.
"""

import json

import numpy as np
import pytest
import torch
from commands import error_of, run

from skeleton_reid.data import Recognition, Sequences, skeleton
from skeleton_reid.data.descriptors import descriptor
from skeleton_reid.engine import baselines
from skeleton_reid.engine.baselines import SETTINGS, recognise
from skeleton_reid.engine.options import CLASSIFIERS
from skeleton_reid.reid.recognition import evaluate

CPU = torch.device("cpu")
FEW_EPOCHS = 12


def persons_apart(persons: int = 5, windows: int = 12, noise: float = 0.03,
                  seed: int = 0) -> Recognition:
    """Each person a pose of their own, 20 joints, 4 frames, a metre apart, with a little noise."""
    rng = np.random.RandomState(seed)
    poses = rng.normal(size=(persons, 20, 3))

    def draw() -> Sequences:
        labels = rng.permutation(np.repeat(np.arange(persons), windows))
        skeletons = poses[labels][:, None] + rng.normal(scale=noise, size=(len(labels), 4, 20, 3))
        return Sequences((skeletons - skeletons[:, :, :1]).astype(np.float32), labels)

    train, tests = draw(), {"A": draw(), "B": draw()}
    return Recognition(train, tests, np.arange(persons), "toy", 4, skeleton.get(20),
                       order=np.arange(len(train)), paths={}, names={})


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_persons_that_lie_apart_are_learned_and_the_same_seed_gives_the_same_numbers(name):
    sets = persons_apart()
    small = {"trees": 10, "lr": 0.005, "batch_size": 16, "hidden": 32, "epochs": FEW_EPOCHS}
    settings = {key: small.get(key, value) for key, value in SETTINGS[name].items()}
    found = recognise(name, sets, settings, 0, CPU, quiet=True)
    for test in ("A", "B"):
        assert found[test]["best"]["rank1"] == 1.0
        assert found[test]["best"]["nAUC_roc"] == 1.0
        assert np.trace(found[test]["best"]["confusion"]) == len(sets.tests[test])
    assert recognise(name, sets, settings, 0, CPU, quiet=True) == found
    if "layers" in settings:
        assert recognise(name, sets, settings, 1, CPU, quiet=True) != found


@pytest.mark.parametrize("neighbours", [5, 8, 100])
def test_nearest_neighbours_vote_by_inverse_distance_in_standardised_descriptors(neighbours):
    sets = persons_apart(persons=4, windows=6, noise=2.5, seed=1)
    settings = {"neighbours": neighbours}
    found = recognise("D-13+KNN", sets, settings, 0, CPU, True)["A"]["best"]
    train, test = (descriptor("D-13", s.skeletons).astype(float)
                   for s in (sets.train, sets.tests["A"]))
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scores = []
    for row in (test - mean) / deviation:
        distances = np.sqrt((((train - mean) / deviation - row)**2).sum(axis=1))
        votes = np.zeros(4)
        for i in np.argsort(distances)[:neighbours]:
            votes[sets.train.labels[i]] += 1 / distances[i]
        scores.append(np.log(0.99 * votes / votes.sum() + 0.01 / 4))
    expected = evaluate(np.array(scores), sets.tests["A"].labels)
    assert expected["rank1"] < 1.0
    assert found["confusion"] == expected["confusion"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["nAUC_roc"] == pytest.approx(expected["nAUC_roc"], rel=1e-4)


def test_training_ends_after_patience_and_the_last_epoch_stands_beside_the_best():
    sets = persons_apart(noise=1.5)
    settings = SETTINGS["LSTM-2"] | {"epochs": 9, "hidden": 8, "patience": 2, "lr": 0.01}
    found = recognise("LSTM-2", sets, settings, 0, CPU, quiet=True)
    newest = max(row["best"]["epoch"] for row in found.values())
    for row in found.values():
        assert row["last"]["epoch"] == min(newest + 2, 9)
        assert row["best"]["rank1"] >= row["last"]["rank1"]


def test_layers_and_width_are_those_of_the_settings():
    one, two = (baselines.SequenceClassifier(20, 7, layers, 256) for layers in (1, 2))
    gates = 4 * 256
    first, second = gates * (60 + 256 + 2), gates * (256 + 256 + 2)
    assert sum(p.numel() for p in one.parameters()) == first + 257 * 7
    assert sum(p.numel() for p in two.parameters()) == first + second + 257 * 7
    assert two(torch.zeros(3, 6, 20, 3)).shape == (3, 7)


def test_command_writes_every_split_and_puts_the_asked_one_on_top(tmp_path, write_dataset, capsys):
    write_dataset(tmp_path, "IAS", 6, persons=3, windows=4, rng=np.random.RandomState(0),
                  noise=0.05)
    file = tmp_path / "found.json"
    assert run("evaluate", "--recognise", "LSTM", "--dataset", "IAS", "--split", "B", "--epochs", 2,
               "--data", tmp_path, "--json", file, "--device", "cpu") == 0  # fmt: skip
    found = json.loads(file.read_text())
    assert found["kind"] == "recognition"
    assert (found["method"], found["dataset"], found["probe"], found["length"]) == ("LSTM", "IAS",
                                                                                    "B", 6)
    assert set(found["tests"]) == {"A", "B"}
    assert found["best"] == found["tests"]["B"]["best"]
    assert found["rank1"] == found["best"]["rank1"]
    assert len(found["confusion"]) == 3
    assert found["settings"]["epochs"] == 2
    printed = capsys.readouterr().out
    assert "LSTM A best" in printed and "LSTM B last" in printed


def test_cross_view_has_one_test(tmp_path, write_dataset, capsys):
    write_dataset(tmp_path, "CASIA_B", 20, persons=3, windows=4, rng=np.random.RandomState(0),
                  view=4)
    assert run("evaluate", "--recognise", "LSTM", "--dataset", "CASIA_B", "--view", 4, "--epochs",
               1, "--data", tmp_path) == 0  # fmt: skip
    assert "LSTM test best" in capsys.readouterr().out


def test_what_cannot_be_done_is_refused_in_one_line(tmp_path, write_dataset, capsys):
    write_dataset(tmp_path, "CASIA_B", 20, persons=3, windows=4, rng=np.random.RandomState(0),
                  view=4)
    words = ("evaluate", "--recognise", "D-13+KNN", "--data", tmp_path, "--dataset")
    assert "D-13 needs left_foot" in error_of(capsys, *words, "CASIA_B", "--view", 4)
    assert "needs a view" in error_of(capsys, *words, "CASIA_B")
    assert "no code was released" in error_of(capsys, *words, "IAS", "--protocol", "released")
    for option in ("--epochs", "--neighbours"):
        assert "need --recognise" in error_of(capsys, "evaluate", "--features", "D-13", "--dataset",
                                              "IAS", option, 1)
    parts = write_dataset(tmp_path, "IAS", 6, persons=3, windows=4, rng=np.random.RandomState(0))
    labels = np.load(parts["B"].frame_id)
    np.save(parts["B"].frame_id, np.where(labels == 2, 9, labels))
    assert "labels 9" in error_of(capsys, *words, "IAS")
    np.save(parts["B"].frame_id, labels)
    assert "unknown test split 'C'" in error_of(capsys, *words, "IAS", "--split", "C")
