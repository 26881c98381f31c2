"""What train_age.py and train_smsge.py have in common: the files of a run, resuming, tasks, saved
models.
"""

import numpy as np
import pytest
import torch
from commands import run, score_files
from training import RECOGNITION, RETRIEVAL, pick, same, without_time

from skeleton_reid import data
from skeleton_reid.engine import checkpoint, features, runs
from skeleton_reid.engine.encoding import encode_frames, load_model
from skeleton_reid.engine.history import History
from skeleton_reid.engine.options import BASELINES

BOTH = ("AGE", "SM-SGE")


@pytest.fixture(params=BOTH)
def train(request, training):
    """train(*arguments): run the script of a method on a small IAS and return its results."""
    return training(request.param)


@pytest.mark.parametrize(
    ("train", "windows", "steps"),
    # 40 windows of 6 rows in batches of 16; two rounds of 4 windows of 5 persons in batches of 20.
    [("AGE", 40, 15), ("SM-SGE", 20, 2)],
    indirect=["train"])
def test_results_and_files(train, capsys, windows, steps):
    result = train("--epochs", 3)
    assert (result["kind"], result["method"]) == ("recognition", train.method)
    assert (result["dataset"], result["probe"], result["length"]) == ("IAS", "A", 6)
    assert (result["protocol"], result["seed"]) == ("full", 0)
    assert set(result["tests"]) == {"A", "B"}
    for test in result["tests"].values():
        for row in (test["best"], test["last"]):
            assert set(row) == set(RECOGNITION)
            assert list(row["rank"]) == ["1", "2", "3", "4", "5"]
            assert np.sum(row["confusion"]) == windows
        assert test["best"]["rank1"] >= test["last"]["rank1"]
        assert (test["last"]["epoch"], test["last"]["step"]) == (3, 3 * steps)
    assert pick(result, RECOGNITION) == result["best"] == result["tests"]["A"]["best"]
    assert result["last"] == result["tests"]["A"]["last"]
    retrieval = result["retrieval"]
    assert (retrieval["kind"], retrieval["probes"], retrieval["gallery"]) == ("retrieval", windows,
                                                                              windows)
    assert retrieval["trained_on"] == ["train"]
    rows = {*BASELINES, "untrained encoder", train.method} - {"recording-LDA"}  # no recordings
    assert rows == set(retrieval["baselines"])
    for name in RETRIEVAL:
        assert 0 <= retrieval["untrained"][name] <= 1
        assert retrieval["last"][name] == retrieval[name]
    table = capsys.readouterr().out
    for text in (f"{train.method} A best", f"{train.method} B last", "Rank-1", "nAUC",
                 "untrained encoder"):
        assert text in table
    assert "retrieval of A" in table
    for phase in ("encoder", "recogniser"):
        assert [row["epoch"] for row in train.history(phase)] == ["1", "2", "3"]
    log = train.path("log.txt").read_text()
    assert "epoch   3" in log
    for phase in ("encoder", "recogniser"):  # both count from 1
        assert log.count(f"epochs of {train.path(phase)}:") == 1


@pytest.mark.parametrize(("train", "first"), [("AGE", "A"), ("SM-SGE", "")], indirect=["train"],
                         ids=["AGE", "SM-SGE"])
def test_split_names_the_headline(train, first):
    first, second = (train("--epochs", 2, "--split", split) for split in (first, "B"))
    assert first["tests"] == second["tests"]
    assert (first["probe"], second["probe"]) == ("A", "B")
    assert first["best"] == first["tests"]["A"]["best"]
    assert second["best"] == first["tests"]["B"]["best"]
    assert second["retrieval"]["probes"] == first["retrieval"]["probes"]
    assert first["retrieval"]["mAP"] != second["retrieval"]["mAP"]


# Interruption


@pytest.mark.parametrize(
    ("train", "epochs", "done",
     "options"),  # so many epochs of the encoders, then of the recogniser
    [
        *(("AGE", 4, done, ())
          for done in (1, 3, 4, 5, 7)), *(("SM-SGE", 3, done, ("--subsets", how))
                                          for done in (1, 3, 5) for how in ("resample", "fixed"))
    ],
    indirect=["train"])
def test_resume_gives_the_same_numbers(train, once, monkeypatch, epochs, done, options):
    arguments = ("--epochs", epochs, *options)
    calls, add = [], History.add

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) > done:
            raise KeyboardInterrupt
        add(self, *arguments)

    monkeypatch.setattr(runs, "SAVE_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(History, "add", interrupted)
        assert run(train.script.name, *train.words(*arguments)) == 130
    whole, result = once(train.method, *arguments)
    assert without_time(train(*arguments, "--resume")) == without_time(result)
    for phase in ("encoder", "recogniser"):
        assert train.history(phase) == whole.history(phase)


def test_more_epochs_on_resume(train, once):
    """Encoders that are trained on make the recogniser begin anew; more of its own epochs go on."""
    whole = once(train.method, "--epochs", 4)[1]
    train("--epochs", 2)
    assert without_time(train("--epochs", 4, "--resume")) == without_time(whole)
    train("--pre_epochs", 4, "--recognition_epochs", 2)
    assert without_time(train("--epochs", 4, "--resume")) == without_time(whole)


# Tasks and data sets


@pytest.mark.parametrize(
    ("train", "windows", "step"),
    # 64 windows of 6 rows in batches of 16; two rounds of 5 windows of 4 persons in each of two
    # splits, of 20.
    [("AGE", 8, 2 * 64 * 6 // 16), ("SM-SGE", 5, 2 * 2 * 40 // 20)],
    indirect=["train"])
def test_recognition_trains_on_the_gallery_and_retrieval_does_not(train, write_dataset, windows,
                                                                  step):
    write_dataset(train.data, "KS20", 6, 4, windows, np.random.RandomState(0), noise=4)
    both = train("--epochs", 2, dataset="KS20")
    assert both["retrieval"]["trained_on"] == ["train", "gallery"]
    assert both["last"]["step"] == step
    alone = train("--epochs", 2, "--task", "retrieval", dataset="KS20")
    assert (alone["kind"], alone["trained_on"], alone["probes"]) == ("retrieval", ["train"],
                                                                     4 * windows)
    for row in ("best", "last", "untrained"):
        assert set(alone[row]) >= set(RETRIEVAL)
    assert alone["untrained"] == both["retrieval"]["untrained"]
    assert alone["last"] != both["retrieval"]["last"]
    assert train("--task", "retrieval", "--mode", "Eval", dataset="KS20")["mAP"] == alone["mAP"]


@pytest.mark.parametrize(
    ("train", "best", "width"),
    [("AGE", "AGE/CASIA_B/view_2_LA/ap/best_test.pt", 3 * 8),
     ("SM-SGE", "SM-SGE/CASIA_B/view_2_IJPB/recogniser_test/best_test.pt", 4 * 4)],
    indirect=["train"], ids=BOTH)
def test_casia_b_view(train, tmp_path, write_dataset, capsys, best, width):
    write_dataset(train.data, "CASIA_B", 20, 3, 7, np.random.RandomState(0), view=2)
    view, files = ("--view", 2), ("--save_features", tmp_path / "f.npz")
    result = train(*view, "--epochs", 2, *files, dataset="CASIA_B")
    assert (result["probe"], list(result["tests"]), result["retrieval"]) == ("test", ["test"], {})
    assert result["length"] == 20
    assert features.read(tmp_path / "f.test.npz").frames.shape == (21, 20, width)
    assert features.read(tmp_path / "f.train.npz").labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    evaluated = train(*view, "--length", 20, "--mode", "Eval", dataset="CASIA_B")
    assert evaluated["rank1"] == result["best"]["rank1"]
    found = train.evaluate(train.out / best, dataset="CASIA_B")
    assert found["loss"] == result["best"]["loss"]
    # Each view has data of its own.
    message = train.error(capsys, "--view", 3, dataset="CASIA_B")
    assert "no CASIA_B data of length 20" in message


def test_casia_b_matching_is_retrieval(train, write_dataset):
    """SM-SGE's published command does not name the task."""
    write_dataset(train.data, "CASIA_B", 20, 4, 6, np.random.RandomState(0))
    result = train("--probe_type", "cl.nm", "--length", 20, "--epochs", 1, dataset="CASIA_B")
    assert (result["kind"], result["probe"]) == ("retrieval", "cl.nm")


# Saved models


def test_eval_and_evaluate_agree(train):
    result = train("--epochs", 3)
    evaluated = train("--mode", "Eval")
    for name in "AB":
        assert evaluated["tests"][name] == result["tests"][name]["best"]
    assert pick(evaluated, RECOGNITION) == result["best"]
    assert pick(evaluated["retrieval"], RETRIEVAL) == pick(result["retrieval"], RETRIEVAL)
    found = train.evaluate(train.path("recogniser", "best_B.pt"))
    assert (found["kind"], found["probe"]) == ("recognition", "B")
    assert pick(found, RECOGNITION) == result["tests"]["B"]["best"]
    found = train.evaluate(train.path("recogniser", "final.pt"), "--probe", "A")
    assert pick(found, RECOGNITION) == result["last"]
    found = train.evaluate(train.path("encoder", "best.pt"), "--probe", "A")
    assert found["kind"] == "retrieval"
    assert pick(found, RETRIEVAL) == pick(result["retrieval"], RETRIEVAL)


@pytest.mark.parametrize(("train", "options", "centred"), [("AGE", (), False),
                                                           ("AGE", ("--centred",), True),
                                                           ("SM-SGE", (), True),
                                                           ("SM-SGE", ("--reverse",), True)],
                         indirect=["train"])
def test_feature_files(train, tmp_path, options, centred):
    result = train("--epochs", 2, *options, "--save_features", tmp_path / "f.npz")
    stored = data.load("IAS", "A", 6, train.data, balance=False, shuffle=False, centred=centred)
    model, _ = load_model(train.path("encoder", "best.pt"), data.skeleton.get(20), 6,
                          torch.device("cpu"))
    for part in ("train", "probe", "gallery", "test"):
        sequences = getattr(stored, "probe" if part == "test" else part)
        found = features.read(tmp_path / f"f.{part}.npz")
        np.testing.assert_array_equal(found.labels, sequences.labels)
        np.testing.assert_array_equal(found.frames,
                                      encode_frames(model, sequences.skeletons).numpy())
        if train.method == "AGE":
            assert found.frames.shape == (40, 6, 3 * 8)
            np.testing.assert_allclose(found.features, found.frames.mean(axis=1), atol=1e-6)
        else:
            assert found.frames.shape == (20, 6, 4 * 4)
            np.testing.assert_array_equal(found.features, found.frames[:, -1])
    assert pick(score_files(tmp_path / "f"), RETRIEVAL) == pick(result["retrieval"], RETRIEVAL)
    found = train.evaluate(train.path("encoder", "best.pt"), "--probe", "A")
    assert pick(found, RETRIEVAL) == pick(result["retrieval"], RETRIEVAL)


def test_features_of_data_with_one_test_set(training, tmp_path, write_dataset, capsys):
    """The downloads of SM-SGE have no gallery apart from the training set: features of train and
    test are left.
    """
    train = training("SM-SGE")
    parts = write_dataset(train.data, "KS20", 6, 4, 8, np.random.RandomState(0), layout=2)
    files = ("--save_features", tmp_path / "f.npz")
    train("--epochs", 1, *files, dataset="KS20")
    assert {path.name for path in tmp_path.glob("f.*")} == {"f.train.npz", "f.test.npz"}
    found = features.read(tmp_path / "f.test.npz")
    assert found.labels.tolist() == np.load(parts["probe"].frame_id).tolist()
    assert found.frames.shape == (32, 6, 4 * 4)
    assert "splits" in train.error(capsys, "--task", "retrieval", "--epochs", 1, *files,
                                   dataset="KS20")


def test_transferred_encoders_are_used_as_they_are(train, write_dataset, capsys):
    write_dataset(train.data, "BIWI", 6, 5, 8, np.random.RandomState(1), noise=1.5)
    train("--epochs", 2, dataset="BIWI")
    variant = train.path().name
    encoder = train.out / train.method / "BIWI" / variant / "encoder" / "best.pt"
    result = train("--epochs", 2, "--encoder", encoder)
    assert result["encoder"] == str(encoder) and not train.path("encoder").exists()
    folder = train.path().with_name(f"{variant}_transfer")
    own, other = (checkpoint.load(path)["model"] for path in (folder / "encoder/best.pt", encoder))
    assert same(own, other)
    phase = folder / train.script.recogniser
    assert pick(train.evaluate(phase / "best_A.pt"), RECOGNITION) == result["best"]
    evaluated = train("--encoder", encoder, "--mode", "Eval")
    assert pick(evaluated, RECOGNITION) == result["best"]
    size = ("--hidden", 4) if train.method == "AGE" else ("--D_h", 8)
    assert "was made with" in train.error(capsys, *size, "--encoder", encoder)
