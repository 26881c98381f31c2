"""train_age.py: what its training does, its options, the released protocol; test_two_phases.py has
the rest.
"""

import numpy as np
import pytest
import torch
from training import RECOGNITION, RETRIEVAL, history, pick, same, without_time

import train_age
from skeleton_reid.engine import checkpoint, released, runs
from skeleton_reid.engine.history import History
from skeleton_reid.engine.methods import METHODS


@pytest.fixture
def train(training):
    """train(*arguments): run the script on IAS, 5 persons with 8 windows each, and return its
    results.
    """
    return training("AGE")


def test_losses_and_attention_of_a_run(train):
    result = train("--epochs", 3)
    rows = train.history("encoder")
    assert all(
        float(rows[0][f"reconstruction_{axis}"]) > float(rows[2][f"reconstruction_{axis}"])
        for axis in "xyz")
    np.testing.assert_allclose(np.sum(result["attention"]["alignment"], axis=-1), 1, rtol=1e-5)


def test_training_learns(train):
    """Encodings of a few epochs tell the persons of the training set apart, better than chance in
    the tests.
    """
    result = train("--pre_epochs", 10, "--recognition_epochs", 30, "--hidden", 32)
    assert result["last"]["rank1"] > 0.4
    assert result["last"]["nAUC_roc"] > 0.6


def test_locality_pulls_the_attention(train):
    training = ("--pre_epochs", 12, "--recognition_epochs", 1, "--hidden", 32, "--lr", 0.02)
    local, basic = (train(*training, "--attention", name)["attention"]["near_target"]
                    for name in ("LA", "BA"))
    assert all(a > b + 0.005 for a, b in zip(local, basic, strict=True))


@pytest.mark.parametrize("name", ["MBA", "none"])
def test_other_attentions_are_trained_saved_and_evaluated(train, name):
    result = train("--epochs", 2, "--attention", name)
    folder = train.out / "AGE" / "IAS" / name
    attends = name != "none"
    rows = history(folder / "encoder" / "history.csv")
    assert float(rows[0]["reconstruction_x"]) > float(rows[1]["reconstruction_x"])
    assert ("near_x" in rows[0]) == ("attention" in result) == attends
    found = train.evaluate(folder / "ap" / "best_A.pt")
    assert pick(found, RECOGNITION) == result["best"]
    found = train.evaluate(folder / "encoder" / "best.pt", "--probe", "A")
    assert pick(found, RETRIEVAL) == pick(result["retrieval"], RETRIEVAL)


def test_an_axis_that_stops_keeps_its_weights(train, monkeypatch):
    """The stop rule works axis by axis, and training ends when all three have stopped."""
    monkeypatch.setattr(runs, "SAVE_SECONDS", 0)
    after = {}  # epoch -> weights
    save_state, seen = History.save, {}

    def rule(losses):  # y stops at its second look, the others at their fourth
        axis = seen.setdefault(id(losses), len(seen))
        return len(losses) >= (2 if axis == 1 else 4)

    def save(self, epoch, seconds=0):
        if "validation" in self.parts:
            weights = self.parts["model"].state_dict()
            after[epoch] = {name: value.clone() for name, value in weights.items()}
        save_state(self, epoch, seconds)

    monkeypatch.setattr(train_age, "stops", rule)
    monkeypatch.setattr(History, "save", save)
    train("--pre_epochs", 9, "--recognition_epochs", 1)
    # A look comes after the first batch of an epoch: y learns for one batch of epoch 2, x and z of
    # epoch 4.
    assert max(after) == 4
    for two, three, four in zip(*(after[epoch].values() for epoch in (2, 3, 4)), strict=True):
        assert torch.equal(two[1], three[1]) and torch.equal(three[1], four[1])
        assert not torch.equal(two[0], three[0]) and not torch.equal(three[2], four[2])


# Options


def test_each_target_has_a_folder_of_its_own(train):
    reverse = train("--epochs", 1)
    before = train.path("encoder", "best.pt").read_bytes()
    same_order = train("--epochs", 1, "--target", "same")
    assert train.path("encoder", "best.pt").read_bytes() == before
    assert (train.path().with_name("LA_same") / "encoder" / "best.pt").is_file()
    assert same_order["settings"]["target"] == "same" and same_order["last"] != reverse["last"]


def test_another_manner_on_the_same_encoders(train):
    train("--epochs", 2)
    before = checkpoint.load(train.path("encoder", "last.pt"))
    resumed = train("--epochs", 2, "--resume", "--manner", "sc")
    assert same(train.weights("encoder"), before["state"]["model"])
    assert train.path("ap", "best_A.pt").is_file() and train.path("sc", "best_A.pt").is_file()
    assert without_time(resumed) == without_time(train("--epochs", 2, "--manner", "sc"))


def test_one_recogniser_serves_both_splits(train):
    result = train("--epochs", 2)
    evaluated = train("--mode", "Eval", "--split", "B")
    for name in "AB":
        assert evaluated["tests"][name] == result["tests"][name]["best"]
    assert pick(evaluated, RECOGNITION) == result["tests"]["B"]["best"]
    found = train.evaluate(train.path("encoder", "best.pt"), "--probe", "B")
    assert found["mAP"] == evaluated["retrieval"]["mAP"] != result["retrieval"]["mAP"]


def test_patience(train):
    """Nothing changes but by rounding in the loss: the first test stays the best, and epochs
    without one count.
    """
    result = train("--pre_epochs", 1, "--recognition_epochs", 99, "--patience", 3, "--lr", 1e-12)
    assert result["last"]["epoch"] < 99


def test_attention_option_has_its_own_folder(train):
    train("--epochs", 2)
    local = train.history("encoder")
    train("--epochs", 2, "--attention", "BA")
    basic = history(train.path().with_name("BA") / "encoder" / "history.csv")
    assert float(local[0]["locality_x"]) > 0 and float(basic[0]["locality_x"]) == 0
    assert local[1]["near_x"] != basic[1]["near_x"]
    assert train.history("encoder") == local


@pytest.mark.parametrize(("name", "epochs", "part"), [("IAS", 300, False), ("KGBD", 150, False),
                                                      ("BIWI", 300, True)])
def test_published_settings(name, epochs, part):
    settings = METHODS["AGE"].choose("full", name, "", {})
    assert (settings.pre_epochs, settings.recognition_epochs) == (400, epochs)
    assert settings.two_thirds == part
    assert (settings.batch_size, settings.lr, settings.hidden) == (128, 0.0005, 256)


# Data sets


def test_biwi_encoders_see_two_thirds(train, write_dataset):
    """40 windows: the encoders train on the first 40 - 14 in file order, the recogniser on all."""
    parts = write_dataset(train.data, "BIWI", 6, 5, 8, np.random.RandomState(0))

    def train_on_windows_from(first):
        original = {axis: np.load(parts["train"].axis(axis)) for axis in "xyz"}
        for axis, values in original.items():
            changed = values.copy()
            changed[first * 6:(first + 1) * 6] += 1
            np.save(parts["train"].axis(axis), changed)
        result = train("--epochs", 2, dataset="BIWI")
        for axis, values in original.items():
            np.save(parts["train"].axis(axis), values)
        return history(train.out / "AGE/BIWI/LA/encoder/history.csv"), result

    plain, seen, unseen = (train_on_windows_from(first) for first in (40, 25, 26))
    assert plain[0] == unseen[0] != seen[0]
    assert plain[1]["last"] != unseen[1]["last"]
    assert set(plain[1]["tests"]) == {"Walking", "Still"}


def test_older_layout_without_a_gallery(train, write_dataset):
    """SGE-LA's BIWI has one test set: recognition works, retrieval metrics are left out."""
    write_dataset(train.data, "BIWI", 6, 4, 8, np.random.RandomState(0), layout=3)
    result = train("--epochs", 1, dataset="BIWI")
    assert (list(result["tests"]), result["retrieval"]) == (["Walking"], {})
    assert "no retrieval metrics" in (train.out / "AGE/BIWI/LA/log.txt").read_text()


# The released protocol


def test_padded_batches():
    labels = np.array([7, 3, 3, 7, 7, 3, 7, 7, 9])
    found = released.padded_batches(labels, 4)  # 3 has 3 windows, 7 has 5, 9 has 1
    assert found.tolist() == [1, 2, 5, 1, 0, 3, 4, 6, 8, 8, 8, 8]


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_tested_batches(rows):
    """Three and one windows stay, five are cut to four; eight windows are whole batches of 4
    whatever the rows.
    """
    labels = np.array([7, 3, 3, 7, 7, 3, 7, 7, 9])
    assert released.tested_batches(labels, 4, rows).tolist() == [1, 2, 5, 0, 3, 4, 6, 8]


def test_batches_of_the_released_code():
    """Persons of 3, 6 and 8 windows in training, of 2, 5 and 4 in the test; batches of 4, 6 rows a
    window.
    """
    trained, tested = np.repeat(range(3), [3, 6, 8]), np.repeat(range(3), [2, 5, 4])
    assert np.bincount(trained[released.padded_batches(trained, 4)]).tolist() == [4, 4, 8]
    assert np.bincount(tested[released.tested_batches(tested, 4, 6)]).tolist() == [2, 4, 4]


def test_tested_batches_drops_incomplete_batches_of_rows():
    labels = np.repeat([0, 1, 2], 3)  # 9 windows
    assert released.tested_batches(labels, 4, 1).tolist() == list(range(8))
    # 54 rows, 52 used, 8 whole windows
    assert released.tested_batches(labels, 4, 6).tolist() == list(range(8))
    assert released.tested_batches(labels, 100,
                                   1).tolist() == list(range(9))  # one incomplete batch stays


def test_released_protocol(train):
    result = train("--epochs", 2, "--protocol", "released")
    assert checkpoint.load(train.path("encoder", "best.pt"))["arguments"]["count_copies"]
    # Eight windows a person are padded to 16: 80 windows, 480 rows. Tests: 40 windows, 240 rows,
    # all in batches.
    assert result["last"]["step"] == 2 * 480 // 16
    assert np.sum(result["last"]["confusion"]) == 40
    assert (result["retrieval"]["probes"], result["retrieval"]["gallery"]) == (32, 32)
    assert pick(train("--protocol", "released", "--mode", "Eval"), RECOGNITION) == result["best"]


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--attention", "MA"), "invalid choice: 'MA'"), (("--manner", "xx"), "invalid choice: 'xx'"),
     (("--feature", "joints"), "invalid choice: 'joints'"),
     (("--decoder_input", "ones"), "invalid choice: 'ones'"),
     (("--target", "up"), "invalid choice: 'up'"), (("--length", 1), "at least 2 frames, found 1"),
     (("--balance", "--protocol", "released"), "does not resample"),
     (("--protocol", "released", "--batch_size", 64), "whole batch of 64 sequences, found 40")])
def test_wrong_use(train, capsys, arguments, message):
    assert message in train.error(capsys, *arguments)
