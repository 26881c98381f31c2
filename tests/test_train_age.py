"""train_age.py and evaluate.py as a user runs them, on small random data sets."""

import csv
import json

import numpy as np
import pytest
import torch
from commands import error_of, run

import data
import train_age
from data.layouts import layouts, part_of
from reid import checkpoint, features, pictures, protocol
from reid.runs import Run
from reid.saved import encode_frames, load_model
from reid.settings import AGE_DEFAULT, AGE_TABLE, resolve

SMALL = ("--hidden", 8, "--batch_size", 16, "--lr", 0.01, "--quiet")
FIGURES = ("rank", "rank1", "nAUC_roc", "nAUC_cmc", "loss", "confusion", "epoch", "step")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than all the rest of a small run."""
    monkeypatch.setattr(pictures, "alignment", lambda path, *_: path.touch())


@pytest.fixture
def ias(tmp_path, write_dataset):
    """The arguments of a run on a data set of 5 persons, 8 windows of 6 frames each in every split."""
    write_dataset(tmp_path / "data", "IAS", 6, 5, 8, np.random.RandomState(0), noise=1.5)
    return ["--dataset", "IAS", "--data", tmp_path / "data", "--out", tmp_path / "out"]


@pytest.fixture
def train(ias, tmp_path):
    """train(*arguments): run the script and return its results."""

    def call(*arguments, dataset=ias):
        assert run("train_age", *dataset, *SMALL, "--json", tmp_path / "result.json", *arguments) == 0
        return json.loads((tmp_path / "result.json").read_text())

    return call


def folder(tmp_path, *parts):
    return tmp_path.joinpath("out", "AGE", "IAS", "LA", *parts)


def without_time(result):
    return {name: value for name, value in result.items() if name != "seconds"}


def history(path):
    """The rows of a history.csv without the seconds."""
    with path.open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("s_")} for row in csv.DictReader(file)]


def test_results_and_files(train, tmp_path, capsys):
    result = train("--epochs", 3)
    assert (result["kind"], result["method"]) == ("recognition", "AGE")
    assert (result["dataset"], result["probe"], result["length"]) == ("IAS", "A", 6)
    assert (result["protocol"], result["seed"]) == ("full", 0)
    assert set(result["tests"]) == {"A", "B"}
    for test in result["tests"].values():
        for row in (test["best"], test["last"]):
            assert set(row) == set(FIGURES)
            assert list(row["rank"]) == ["1", "2", "3", "4", "5"]
            assert np.sum(row["confusion"]) == 40
        assert test["best"]["rank1"] >= test["last"]["rank1"]
        assert (test["last"]["epoch"], test["last"]["step"]) == (
            3,
            3 * 15,
        )  # 40 windows of 6 rows, batches of 16
    assert {name: result[name] for name in FIGURES} == result["best"] == result["tests"]["A"]["best"]
    assert result["last"] == result["tests"]["A"]["last"]
    retrieval = result["retrieval"]
    assert (retrieval["kind"], retrieval["probes"], retrieval["gallery"]) == ("retrieval", 40, 40)
    assert retrieval["trained_on"] == ["train"]
    assert {"mean-pose", "D-13", "D-16", "untrained encoder", "AGE"} == set(retrieval["baselines"])
    for name in ("top1", "top5", "top10", "mAP"):
        assert 0 <= retrieval["untrained"][name] <= 1
        assert retrieval["last"][name] == retrieval[name]
    table = capsys.readouterr().out
    for text in ("AGE A best", "AGE B last", "Rank-1", "nAUC", "untrained encoder", "retrieval of A"):
        assert text in table
    np.testing.assert_allclose(np.sum(result["attention"]["alignment"], axis=-1), 1, rtol=1e-5)
    assert folder(tmp_path, "alignment.png").is_file()
    rows = history(folder(tmp_path, "encoder", "history.csv"))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(rows[0][f"rec_{axis}"]) > float(rows[2][f"rec_{axis}"]) for axis in "xyz")
    assert "epoch   3" in folder(tmp_path, "log.txt").read_text()
    assert len(history(folder(tmp_path, "ap", "history.csv"))) == 3


def test_training_learns(train):
    """Encodings of a few epochs tell the persons of the training set apart, better than chance in the tests."""
    result = train("--pre_epochs", 10, "--recognition_epochs", 30, "--hidden", 32)
    assert result["last"]["rank1"] > 0.4
    assert result["last"]["nAUC_roc"] > 0.6


def test_locality_pulls_the_attention(train):
    training = ("--pre_epochs", 20, "--recognition_epochs", 1, "--hidden", 64, "--lr", 0.005)
    local, basic = (
        train(*training, "--attention", name)["attention"]["near_target"] for name in ("LA", "BA")
    )
    assert all(a > b + 0.005 for a, b in zip(local, basic, strict=True))


def test_same_seed_same_numbers(train):
    first = train("--epochs", 2)
    assert without_time(train("--epochs", 2)) == without_time(first)
    assert train("--epochs", 2, "--seed", 1)["last"] != first["last"]


# Interruption


@pytest.mark.parametrize("done", [1, 3, 4, 5, 7])  # four epochs of the encoders, then four of the recogniser
def test_resume_gives_the_same_numbers(train, ias, tmp_path, monkeypatch, done):
    monkeypatch.setattr(train_age, "SAVE_SECONDS", 0)
    whole = train("--epochs", 4)
    files = [folder(tmp_path, phase, "history.csv") for phase in ("encoder", "ap")]
    histories = [history(path) for path in files]
    calls, end_epoch = [], Run.end_epoch

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) > done:
            raise KeyboardInterrupt
        end_epoch(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "end_epoch", interrupted)
        assert run("train_age", *ias, *SMALL, "--epochs", 4) == 130
    result = train("--epochs", 4, "--resume")
    assert without_time(result) == without_time(whole)
    assert [history(path) for path in files] == histories


def test_more_epochs_on_resume(train):
    """Encoders that are trained on make the recogniser begin anew; more of its own epochs go on."""
    whole = train("--epochs", 4)
    train("--epochs", 2)
    assert without_time(train("--epochs", 4, "--resume")) == without_time(whole)
    train("--pre_epochs", 4, "--recognition_epochs", 2)
    assert without_time(train("--epochs", 4, "--resume")) == without_time(whole)


def test_another_manner_on_the_same_encoders(train, tmp_path):
    train("--epochs", 2)
    before = checkpoint.load(folder(tmp_path, "encoder", "last.pt"))
    resumed = train("--epochs", 2, "--resume", "--manner", "sc")
    after = checkpoint.load(folder(tmp_path, "encoder", "best.pt"))["model"]
    assert all(torch.equal(after[name], value) for name, value in before["state"]["model"].items())
    assert folder(tmp_path, "ap", "best_A.pt").is_file() and folder(tmp_path, "sc", "best_A.pt").is_file()
    assert without_time(resumed) == without_time(train("--epochs", 2, "--manner", "sc"))


# Options


@pytest.mark.parametrize(
    ("option", "value", "encoder"),
    [
        ("--decoder_input", "previous", True), ("--target", "same", True), ("--centred", None, True),
        ("--hidden", 4, True), ("--lr", 0.001, True), ("--batch_size", 8, True), ("--seed", 1, True),
        ("--balance", None, True), ("--two_thirds", None, True), ("--manner", "sc", False),
        ("--feature", "states", False),
    ],
)  # fmt: skip
def test_every_setting_has_an_effect(train, tmp_path, option, value, encoder):
    plain = train("--epochs", 2)
    before = history(folder(tmp_path, "encoder", "history.csv"))
    changed = train("--epochs", 2, *([option] if value is None else [option, value]))
    assert (history(folder(tmp_path, "encoder", "history.csv")) != before) == encoder
    assert changed["last"] != plain["last"]
    assert changed["retrieval"]["baselines"]["D-13"] == plain["retrieval"]["baselines"]["D-13"]
    if option not in ("--seed", "--balance"):
        name = option.removeprefix("--")
        assert changed["settings"][name] == (True if value is None else value)


def test_patience(train):
    """Nothing changes but by rounding in the loss: the first test stays the best, and epochs without one count."""
    result = train("--pre_epochs", 1, "--recognition_epochs", 99, "--patience", 3, "--lr", 1e-12)
    assert result["last"]["epoch"] < 99


def test_attention_option_has_its_own_folder(train, tmp_path):
    train("--epochs", 2)
    local = history(folder(tmp_path, "encoder", "history.csv"))
    train("--epochs", 2, "--attention", "BA")
    basic = history(folder(tmp_path).parent / "BA" / "encoder" / "history.csv")
    assert float(local[0]["loc_x"]) > 0 and float(basic[0]["loc_x"]) == 0
    assert local[1]["rec_x"] != basic[1]["rec_x"]
    assert history(folder(tmp_path, "encoder", "history.csv")) == local


def test_split_names_the_headline_only(train):
    first, second = (train("--epochs", 2, "--split", split) for split in "AB")
    assert first["tests"] == second["tests"]
    assert second["best"] == first["tests"]["B"]["best"]
    assert (second["probe"], second["retrieval"]["probes"]) == ("B", 40)
    assert first["retrieval"]["mAP"] != second["retrieval"]["mAP"]


@pytest.mark.parametrize(
    ("name", "epochs", "part"), [("IAS", 300, False), ("KGBD", 150, False), ("BIWI", 300, True)]
)
def test_published_settings(name, epochs, part):
    settings = resolve(AGE_DEFAULT, AGE_TABLE, (name,), {})
    assert (settings["pre_epochs"], settings["recognition_epochs"], settings["two_thirds"]) == (
        400,
        epochs,
        part,
    )
    assert (settings["batch_size"], settings["lr"], settings["hidden"]) == (128, 0.0005, 256)


def test_biwi_encoders_see_two_thirds(train, tmp_path, write_dataset):
    """40 windows: the encoders train on the first 40 - 14 in file order, the recogniser on all."""
    parts = write_dataset(tmp_path / "data", "BIWI", 6, 5, 8, np.random.RandomState(0))
    biwi = ["--dataset", "BIWI", "--data", tmp_path / "data", "--out", tmp_path / "out"]

    def train_on_windows_from(first):
        original = {axis: np.load(parts["train"].axis(axis)) for axis in "xyz"}
        for axis, values in original.items():
            changed = values.copy()
            changed[first * 6 : (first + 1) * 6] += 1
            np.save(parts["train"].axis(axis), changed)
        result = train("--epochs", 2, dataset=biwi)
        for axis, values in original.items():
            np.save(parts["train"].axis(axis), values)
        return history(tmp_path / "out/AGE/BIWI/LA/encoder/history.csv"), result

    plain, seen, unseen = (train_on_windows_from(first) for first in (40, 25, 26))
    assert plain[0] == unseen[0] != seen[0]
    assert plain[1]["last"] != unseen[1]["last"]
    assert set(plain[1]["tests"]) == {"Walking", "Still"}


def test_an_axis_that_stops_keeps_its_weights(train, tmp_path, monkeypatch):
    """The stop rule works axis by axis, and training ends when all three have stopped."""
    monkeypatch.setattr(train_age, "SAVE_SECONDS", 0)
    after = {}  # epoch -> weights
    save_last, seen = Run.save_last, {}

    def rule(losses):  # y stops at its second look, the others at their fourth
        axis = seen.setdefault(id(losses), len(seen))
        return len(losses) >= (2 if axis == 1 else 4)

    def save(self, epoch, parts, seconds=0):
        if "validation" in parts:
            after[epoch] = [p.detach().clone() for p in parts["model"].parameters()]
        save_last(self, epoch, parts, seconds)

    monkeypatch.setattr(train_age, "stops", rule)
    monkeypatch.setattr(Run, "save_last", save)
    train("--pre_epochs", 9, "--recognition_epochs", 1)
    # A look comes after the first batch of an epoch: y learns for one batch of epoch 2, x and z of epoch 4.
    assert max(after) == 4
    for two, three, four in zip(after[2], after[3], after[4], strict=True):
        assert torch.equal(two[1], three[1]) and torch.equal(three[1], four[1])
        assert not torch.equal(two[0], three[0]) and not torch.equal(three[2], four[2])


# Tasks and data sets


def test_recognition_trains_on_the_gallery_and_retrieval_does_not(train, tmp_path, write_dataset):
    write_dataset(tmp_path / "data", "KS20", 6, 4, 8, np.random.RandomState(0), noise=4)
    ks20 = ["--dataset", "KS20", "--data", tmp_path / "data", "--out", tmp_path / "out"]
    both = train("--epochs", 2, dataset=ks20)
    assert both["retrieval"]["trained_on"] == ["train", "gallery"]
    assert both["last"]["step"] == 2 * 64 * 6 // 16
    alone = train("--epochs", 2, "--task", "retrieval", dataset=ks20)
    assert (alone["kind"], alone["trained_on"], alone["probes"]) == ("retrieval", ["train"], 32)
    for row in ("best", "last", "untrained"):
        assert set(alone[row]) >= {"top1", "top5", "top10", "mAP"}
    assert alone["untrained"] == both["retrieval"]["untrained"]
    assert alone["last"] != both["retrieval"]["last"]
    evaluated = train("--task", "retrieval", "--mode", "Eval", dataset=ks20)
    assert evaluated["mAP"] == alone["mAP"]


def test_casia_b_view(train, tmp_path, write_dataset):
    write_dataset(tmp_path / "data", "CASIA_B", 20, 3, 4, np.random.RandomState(0), view=2)
    casia = ["--dataset", "CASIA_B", "--data", tmp_path / "data", "--out", tmp_path / "out", "--length", 20]
    result = train("--view", 2, "--epochs", 2, "--save_features", tmp_path / "f.npz", dataset=casia)
    assert (result["probe"], list(result["tests"]), result["retrieval"]) == ("test", ["test"], {})
    assert features.read(tmp_path / "f.test.npz").frames.shape == (12, 20, 24)
    assert features.read(tmp_path / "f.train.npz").labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert train("--view", 2, "--mode", "Eval", dataset=casia)["rank1"] == result["best"]["rank1"]
    path = tmp_path / "out/AGE/CASIA_B/view_2_LA/ap/best_test.pt"
    where = ["--dataset", "CASIA_B", "--data", tmp_path / "data", "--json", tmp_path / "e.json", "--quiet"]
    assert run("evaluate", "--checkpoint", path, *where) == 0
    assert json.loads((tmp_path / "e.json").read_text())["loss"] == result["best"]["loss"]


def test_casia_b_matching_is_retrieval(train, tmp_path, write_dataset):
    write_dataset(tmp_path / "data", "CASIA_B", 20, 4, 6, np.random.RandomState(0))
    casia = ["--dataset", "CASIA_B", "--data", tmp_path / "data", "--out", tmp_path / "out", "--length", 20]
    result = train("--task", "retrieval", "--probe", "cl.nm", "--epochs", 1, dataset=casia)
    assert (result["kind"], result["probe"]) == ("retrieval", "cl.nm")


def test_older_layout_without_a_gallery(train, tmp_path, write_dataset, capsys):
    """SGE-LA's BIWI has one test set: recognition works, retrieval figures are left out."""
    write_dataset(tmp_path / "data", "BIWI", 6, 4, 8, np.random.RandomState(0), layout=3)
    biwi = ["--dataset", "BIWI", "--data", tmp_path / "data", "--out", tmp_path / "out"]
    result = train("--epochs", 1, dataset=biwi)
    assert (list(result["tests"]), result["retrieval"]) == (["Walking"], {})
    assert "no retrieval figures" in (tmp_path / "out/AGE/BIWI/LA/log.txt").read_text()


# The released protocol


def test_padded_batches():
    labels = np.array([7, 3, 3, 7, 7, 3, 7, 7, 9])
    found = protocol.padded_batches(labels, 4)  # 3 has 3 windows, 7 has 5, 9 has 1
    assert found.tolist() == [1, 2, 5, 1, 0, 3, 4, 6, 8, 8, 8, 8]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(1, [1, 2, 5, 0, 3, 4, 6, 8]), (3, [1, 2, 5, 0, 3, 4, 6, 8]), (5, [1, 2, 5, 0, 3, 4, 6, 8])],
)
def test_tested_batches(rows, expected):
    """Three and one windows stay, five are cut to four; eight windows are whole batches of 4 whatever the rows."""
    assert protocol.tested_batches(np.array([7, 3, 3, 7, 7, 3, 7, 7, 9]), 4, rows).tolist() == expected


def test_tested_batches_drops_incomplete_batches_of_rows():
    labels = np.repeat([0, 1, 2], 3)  # 9 windows
    assert protocol.tested_batches(labels, 4, 1).tolist() == list(range(8))
    assert protocol.tested_batches(labels, 4, 6).tolist() == list(
        range(8)
    )  # 54 rows, 52 used, 8 whole windows
    assert protocol.tested_batches(labels, 100, 1).tolist() == list(range(9))  # one incomplete batch stays


def test_released_protocol(train, tmp_path):
    result = train("--epochs", 2, "--protocol", "released")
    arguments = checkpoint.load(folder(tmp_path, "encoder", "best.pt"))["arguments"]
    assert arguments["count_copies"]
    # Eight windows a person are padded to 16: 80 windows, 480 rows. Tests: 40 windows, 240 rows, all in batches.
    assert result["last"]["step"] == 2 * 480 // 16
    assert np.sum(result["last"]["confusion"]) == 40
    assert (result["retrieval"]["probes"], result["retrieval"]["gallery"]) == (32, 32)
    evaluated = train("--protocol", "released", "--mode", "Eval")
    assert {name: evaluated[name] for name in FIGURES} == result["best"]


# Saved models


def test_eval_and_evaluate_agree(train, tmp_path):
    result = train("--epochs", 3)
    evaluated = train("--mode", "Eval", "--split", "B")
    for name in "AB":
        assert evaluated["tests"][name] == result["tests"][name]["best"]
    assert {name: evaluated[name] for name in FIGURES} == result["tests"]["B"]["best"]
    where = ["--dataset", "IAS", "--data", tmp_path / "data", "--json", tmp_path / "e.json", "--quiet"]

    def evaluate(*path_and_arguments):
        *path, arguments = path_and_arguments
        assert run("evaluate", "--checkpoint", folder(tmp_path, *path), *where, *arguments) == 0
        return json.loads((tmp_path / "e.json").read_text())

    found = evaluate("ap", "best_B.pt", ())
    assert (found["kind"], found["probe"]) == ("recognition", "B")
    assert {name: found[name] for name in FIGURES} == result["tests"]["B"]["best"]
    found = evaluate("ap", "final.pt", ("--probe", "A"))
    assert {name: found[name] for name in FIGURES} == result["last"]
    found = evaluate("encoder", "best.pt", ("--probe", "A"))
    assert found["kind"] == "retrieval"
    assert all(found[name] == result["retrieval"][name] for name in ("top1", "top5", "top10", "mAP"))
    found = evaluate("encoder", "best.pt", ("--probe", "B"))
    assert found["mAP"] == evaluated["retrieval"]["mAP"] != result["retrieval"]["mAP"]


@pytest.mark.parametrize("centred", [False, True])
def test_feature_files(train, tmp_path, centred):
    option = ["--centred"] if centred else []
    result = train("--epochs", 2, *option, "--save_features", tmp_path / "f.npz")
    parts = {part: features.read(tmp_path / f"f.{part}.npz") for part in ("train", "probe", "gallery")}
    stored = data.load("IAS", "A", 6, tmp_path / "data", balance=False, shuffle=False, centred=centred)
    model, _ = load_model(folder(tmp_path, "encoder", "best.pt"), 20, 6, torch.device("cpu"))
    for part, found in parts.items():
        sequences = getattr(stored, part)
        np.testing.assert_array_equal(found.labels, sequences.labels)
        assert found.frames.shape == (40, 6, 24)
        np.testing.assert_allclose(found.features, found.frames.mean(axis=1), atol=1e-6)
        np.testing.assert_array_equal(found.frames, encode_frames(model, sequences.skeletons).numpy())
    files = ["--probe", tmp_path / "f.probe.npz", "--gallery", tmp_path / "f.gallery.npz"]
    assert run("evaluate", *files, "--json", tmp_path / "e.json", "--quiet") == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert all(found[name] == result["retrieval"][name] for name in ("top1", "top5", "top10", "mAP"))
    where = ["--dataset", "IAS", "--data", tmp_path / "data", "--probe", "A", "--json", tmp_path / "e.json"]
    assert run("evaluate", "--checkpoint", folder(tmp_path, "encoder", "best.pt"), *where, "--quiet") == 0
    assert json.loads((tmp_path / "e.json").read_text())["mAP"] == result["retrieval"]["mAP"]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "C"), "unknown probe 'C' for IAS"),
        (("--attention", "MA"), "invalid choice: 'MA'"),
        (("--manner", "xx"), "invalid choice: 'xx'"),
        (("--feature", "joints"), "invalid choice: 'joints'"),
        (("--decoder_input", "ones"), "invalid choice: 'ones'"),
        (("--target", "up"), "invalid choice: 'up'"),
        (("--task", "naming"), "invalid choice: 'naming'"),
        (("--length", 1), "at least 2 frames, found --length 1"),
        (("--length", 4), "no IAS data of length 4"),
        (("--data", "nowhere"), "python -m data.simulate --dataset IAS"),
        (("--epochs", 0), "at least 1"),
        (("--device", "abacus"), "unknown device 'abacus'"),
        (("--view", 3), "IAS has no views"),
        (("--view", 3, "--probe", "A"), "leave out --probe"),
        (("--balance", "--protocol", "released"), "does not resample"),
        (("--balance", "--batch_size", 3), "at least the number of persons"),
        (("--protocol", "released", "--batch_size", 64), "whole batch of 64 sequences, found 40"),
        (("--resume",), "no checkpoint at"),
        (("--mode", "Eval"), "no checkpoint at"),
        (("--mode", "Eval", "--task", "retrieval"), "no checkpoint at"),
    ],
)
def test_wrong_use(ias, capsys, arguments, message):
    assert message in error_of(capsys, "train_age", *ias, "--quiet", *arguments)


def test_casia_b_needs_a_view(tmp_path, capsys):
    message = error_of(capsys, "train_age", "--dataset", "CASIA_B", "--out", tmp_path, "--quiet")
    assert "needs --view 0 to 10; without one, --task retrieval" in message


def test_unknown_persons_are_refused(ias, train, tmp_path, write_dataset, capsys):
    train("--epochs", 1)
    where = layouts(data.datasets.get("IAS"), 6, tmp_path / "data")[0]
    test_b = part_of(where, data.datasets.get("IAS"), "B", 6)
    labels = np.load(test_b.frame_id)
    np.save(test_b.frame_id, np.where(labels == 4, 77, labels))
    message = error_of(capsys, "train_age", *ias, *SMALL)
    assert "test split B" in message and "labels 77" in message
    arguments = [
        "--checkpoint",
        folder(tmp_path, "ap", "best_A.pt"),
        "--dataset",
        "IAS",
        "--data",
        tmp_path / "data",
    ]
    assert "labels 77" in error_of(capsys, "evaluate", *arguments, "--quiet")


def test_resume_with_other_settings_is_refused(train, ias, tmp_path, capsys):
    train("--epochs", 1)
    before = folder(tmp_path, "encoder", "last.pt").read_bytes()
    for option, name in (
        (("--target", "same"), "target"),
        (("--seed", 5), "seed"),
        (("--centred",), "centred"),
    ):
        message = error_of(capsys, "train_age", *ias, *SMALL, "--resume", "--epochs", 1, *option)
        assert f"made with {name} = " in message
    assert folder(tmp_path, "encoder", "last.pt").read_bytes() == before


def test_wrong_checkpoints_are_refused(train, ias, tmp_path, write_dataset, capsys):
    train("--epochs", 1)
    write_dataset(tmp_path / "data", "KS20", 6, 5, 4, np.random.RandomState(0))
    write_dataset(tmp_path / "data", "IAS", 4, 5, 4, np.random.RandomState(0))
    for path in (folder(tmp_path, "ap", "best_A.pt"), folder(tmp_path, "encoder", "best.pt")):
        where = ["--checkpoint", path, "--data", tmp_path / "data", "--quiet"]
        message = error_of(capsys, "evaluate", *where, "--dataset", "KS20", "--probe", "probe")
        assert "20 joints, these data have 25" in message
        message = error_of(capsys, "evaluate", *where, "--dataset", "IAS", "--probe", "A", "--length", 4)
        assert "trained with f = 6, found --length 4" in message
    path = folder(tmp_path, "ap", "best_A.pt")
    where = ["--data", tmp_path / "data", "--dataset", "IAS", "--quiet"]
    assert "unknown test split 'C'" in error_of(
        capsys, "evaluate", "--checkpoint", path, *where, "--probe", "C"
    )
    path.write_bytes(folder(tmp_path, "encoder", "best.pt").read_bytes())
    assert "holds an encoder alone" in error_of(capsys, "train_age", *ias, *SMALL, "--mode", "Eval")
    path.write_bytes(path.read_bytes()[:1000])
    assert "truncated or damaged" in error_of(capsys, "train_age", *ias, *SMALL, "--mode", "Eval")


def test_diverging_training_is_reported(ias, capsys):
    message = error_of(capsys, "train_age", *ias, *SMALL, "--lr", 1e30, "--epochs", 2)
    assert "NaN" in message
