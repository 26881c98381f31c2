"""train_smsge.py and evaluate.py as a user runs them, on small random data sets."""

import csv
import json

import numpy as np
import pytest
import torch
from commands import error_of, run

import data
import train_smsge
from data.layouts import layouts, part_of
from models.smsge import SMSGE
from reid import checkpoint, features
from reid.runs import Run
from reid.saved import encode_frames, encode_rows, encode_set, load_model
from reid.settings import SMSGE as SETTINGS
from reid.settings import resolve

SMALL = ("--D_h", 4, "--P", 2, "--batch_size", 20, "--lr", 0.01, "--recognition_lr", 0.01, "--quiet")
FIGURES = ("rank", "rank1", "nAUC_roc", "nAUC_cmc", "loss", "confusion", "epoch", "step")
RETRIEVAL = ("top1", "top5", "top10", "mAP")


@pytest.fixture
def ias(tmp_path, write_dataset):
    """The arguments of a run on a data set of 5 persons, 4 windows of 6 frames each in every split."""
    write_dataset(tmp_path / "data", "IAS", 6, 5, 4, np.random.RandomState(0), noise=1.5)
    return ["--dataset", "IAS", "--data", tmp_path / "data", "--out", tmp_path / "out"]


@pytest.fixture
def train(ias, tmp_path):
    """train(*arguments): run the script and return its results."""

    def call(*arguments, dataset=ias):
        assert run("train_smsge", *dataset, *SMALL, "--json", tmp_path / "result.json", *arguments) == 0
        return json.loads((tmp_path / "result.json").read_text())

    return call


@pytest.fixture
def evaluate(tmp_path):
    """evaluate(path, *arguments): evaluate.py on a checkpoint of the IAS runs."""

    def call(path, *arguments, dataset="IAS"):
        where = ["--dataset", dataset, "--data", tmp_path / "data", "--json", tmp_path / "e.json", "--quiet"]
        assert run("evaluate", "--checkpoint", path, *where, *arguments) == 0
        return json.loads((tmp_path / "e.json").read_text())

    return call


def folder(tmp_path, *parts):
    return tmp_path.joinpath("out", "SM-SGE", "IAS", "IJPB", *parts)


def without_time(result):
    return {name: value for name, value in result.items() if name != "seconds"}


def history(path):
    """The rows of a history.csv without the seconds."""
    with path.open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("s_")} for row in csv.DictReader(file)]


def weights(path):
    """The saved weights of the encoder, by name."""
    return checkpoint.load(path)["model"]


def test_results_and_files(train, tmp_path, capsys):
    result = train("--epochs", 3)
    assert (result["kind"], result["method"]) == ("recognition", "SM-SGE")
    assert (result["dataset"], result["probe"], result["length"]) == ("IAS", "A", 6)
    assert (result["protocol"], result["seed"]) == ("full", 0)
    assert set(result["tests"]) == {"A", "B"}
    for test in result["tests"].values():
        for row in (test["best"], test["last"]):
            assert set(row) == set(FIGURES)
            assert list(row["rank"]) == ["1", "2", "3", "4", "5"]
            assert np.sum(row["confusion"]) == 20
        # Resampled to two rounds of 4 windows a person: 40 sequences, batches of 20.
        assert (test["last"]["epoch"], test["last"]["step"]) == (3, 3 * 2)
    assert {name: result[name] for name in FIGURES} == result["best"] == result["tests"]["A"]["best"]
    assert result["last"] == result["tests"]["A"]["last"]
    retrieval = result["retrieval"]
    assert (retrieval["kind"], retrieval["probes"], retrieval["gallery"]) == ("retrieval", 20, 20)
    assert retrieval["trained_on"] == ["train"]
    assert {"mean-pose", "D-13", "D-16", "untrained encoder", "SM-SGE"} == set(retrieval["baselines"])
    table = capsys.readouterr().out
    for text in ("SM-SGE A best", "SM-SGE B last", "Rank-1", "nAUC", "untrained encoder", "retrieval of A"):
        assert text in table
    rows = history(folder(tmp_path, "encoder", "history.csv"))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert set(rows[0]) == {"epoch", "loss_I", "loss_J", "loss_P", "loss_B"}
    assert len(history(folder(tmp_path, "recogniser_A", "history.csv"))) == 3
    assert "epoch   3" in folder(tmp_path, "log.txt").read_text()


def test_training_learns(train, tmp_path):
    """The losses of every scale fall, and the states tell the persons of the test windows apart."""
    result = train("--pre_epochs", 15, "--recognition_epochs", 40, "--D_h", 16)
    rows = history(folder(tmp_path, "encoder", "history.csv"))
    for scale in "IJPB":
        assert float(rows[-1][f"loss_{scale}"]) < 0.95 * float(rows[0][f"loss_{scale}"])
    assert result["last"]["rank1"] > 0.4
    assert result["last"]["nAUC_roc"] > 0.6


def test_same_seed_same_numbers(train):
    first = train("--epochs", 2)
    assert without_time(train("--epochs", 2)) == without_time(first)
    assert train("--epochs", 2, "--seed", 1)["last"] != first["last"]


# Interruption


@pytest.mark.parametrize("subsets", ["resample", "fixed"])
@pytest.mark.parametrize("done", [1, 3, 5])  # three epochs of the encoder, then three of the recogniser
def test_resume_gives_the_same_numbers(train, ias, tmp_path, monkeypatch, done, subsets):
    monkeypatch.setattr(train_smsge, "SAVE_SECONDS", 0)
    whole = train("--epochs", 3, "--subsets", subsets)
    files = [folder(tmp_path, phase, "history.csv") for phase in ("encoder", "recogniser_A")]
    histories = [history(path) for path in files]
    calls, end_epoch = [], Run.end_epoch

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) > done:
            raise KeyboardInterrupt
        end_epoch(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "end_epoch", interrupted)
        assert run("train_smsge", *ias, *SMALL, "--epochs", 3, "--subsets", subsets) == 130
    result = train("--epochs", 3, "--subsets", subsets, "--resume")
    assert without_time(result) == without_time(whole)
    assert [history(path) for path in files] == histories


def test_each_phase_has_epochs_of_its_own(train, tmp_path):
    result = train("--epochs", 4, "--pre_epochs", 1, "--recognition_epochs", 2)
    assert len(history(folder(tmp_path, "encoder", "history.csv"))) == 1
    assert result["last"]["epoch"] == len(history(folder(tmp_path, "recogniser_A", "history.csv"))) == 2


def test_more_epochs_on_resume(train):
    """An encoder that is trained on makes the recogniser begin anew; more of its own epochs go on."""
    whole = train("--epochs", 4)
    train("--epochs", 2)
    assert without_time(train("--epochs", 4, "--resume")) == without_time(whole)
    train("--pre_epochs", 4, "--recognition_epochs", 2)
    assert without_time(train("--epochs", 4, "--resume")) == without_time(whole)


def test_reloaded_encoder_gives_the_same_recogniser(train, tmp_path):
    whole = train("--epochs", 2)
    path = folder(tmp_path, "encoder", "best.pt")
    before = path.read_bytes()
    assert without_time(train("--epochs", 2, "--pre_train", 0)) == without_time(whole)
    assert path.read_bytes() == before
    # Another setting of the recogniser, and of the training of an encoder, which is not trained.
    other = train("--epochs", 2, "--pre_train", 0, "--last_pre", "--batch_size", 10)
    assert path.read_bytes() == before
    assert other["last"]["loss"] != whole["last"]["loss"]
    assert other["retrieval"]["mAP"] == whole["retrieval"]["mAP"]


def test_split_b_on_the_encoder_of_a(train, tmp_path):
    """Each split has a recogniser of its own, so that Eval finds the one of its setting."""
    first = train("--epochs", 2)
    second = train("--epochs", 2, "--split", "B", "--pre_train", 0, "--batch_size", 10)
    assert (second["probe"], second["best"]) == ("B", second["tests"]["B"]["best"])
    for split, result in (("A", first), ("B", second)):
        evaluated = train("--mode", "Eval", "--split", split)
        assert evaluated["tests"] == {name: test["best"] for name, test in result["tests"].items()}


# Options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--D_h", 6), ("--P", 1), ("--n_hood", 2), ("--fusion_lambda", 0.5), ("--sample_num", 2), ("--lr", 0.001),
        ("--batch_size", 10), ("--subsets", "fixed"), ("--loss", "l2"), ("--loss", "MSE"), ("--pred_margin", 2),
        ("--s_range", "1"), ("--s_range", "f/2"), ("--s_range", "f-1"), ("--s_range", "f"), ("--ord_sample", 1),
        ("--global_att", 1), ("--struct_only", 1), ("--bi", 1), ("--reverse", 1), ("--seed", 1),
        ("--no-balance", None), ("--single_level", 1),
    ],
)  # fmt: skip
def test_every_setting_of_the_encoder_has_an_effect(train, tmp_path, option, value):
    plain = train("--epochs", 1)
    before = history(folder(tmp_path, "encoder", "history.csv"))
    changed = train("--epochs", 1, *([option] if value is None else [option, value]))
    assert history(folder(tmp_path, "encoder", "history.csv")) != before
    assert changed["last"]["loss"] != plain["last"]["loss"]
    assert changed["retrieval"]["baselines"]["D-13"] == plain["retrieval"]["baselines"]["D-13"]
    name = option.removeprefix("--")
    if name in plain["settings"]:
        assert plain["settings"][name] != changed["settings"][name] == value


@pytest.mark.parametrize(
    ("option", "value"), [("--last_pre", 1), ("--prefixes", "f+1"), ("--recognition_lr", 0.1)]
)
def test_settings_of_the_recogniser_leave_the_encoder_alone(train, tmp_path, option, value):
    plain = train("--epochs", 2)
    before = weights(folder(tmp_path, "encoder", "best.pt"))
    changed = train("--epochs", 2, option, value)
    after = weights(folder(tmp_path, "encoder", "best.pt"))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert changed["last"]["loss"] != plain["last"]["loss"]
    assert changed["retrieval"] == plain["retrieval"]
    evaluated = train("--mode", "Eval")  # knows from the checkpoint what the recogniser is given
    assert {name: evaluated[name] for name in FIGURES} == changed["best"]


def test_split_names_the_headline(train):
    first, second = (train("--epochs", 1, "--split", split) for split in ("", "B"))
    assert (first["probe"], second["probe"]) == ("A", "B")
    assert first["tests"] == second["tests"]
    assert second["best"] == first["tests"]["B"]["best"]


def test_switches_need_no_value(train):
    assert train("--epochs", 1, "--bi")["last"] == train("--epochs", 1, "--bi", 1)["last"]
    assert train("--epochs", 1, "--bi", 0)["settings"]["bi"] == 0


def test_single_level_is_a_weight_of_zero(train):
    single = train("--epochs", 1, "--single_level")
    assert single["settings"]["fusion_lambda"] == 0
    assert without_time(single) == without_time(train("--epochs", 1, "--fusion_lambda", 0))


def test_scales_have_their_own_folder(train, tmp_path, evaluate):
    train("--epochs", 1)
    before = folder(tmp_path, "encoder", "best.pt").read_bytes()
    result = train("--epochs", 2, "--scales", "BJ", "--save_features", tmp_path / "f.npz")
    assert result["settings"]["scales"] == "JB"
    assert folder(tmp_path, "encoder", "best.pt").read_bytes() == before
    where = folder(tmp_path).parent / "JB"
    assert set(history(where / "encoder" / "history.csv")[0]) == {"epoch", "loss_J", "loss_B"}
    assert features.read(tmp_path / "f.probe.npz").frames.shape == (20, 6, 2 * 4)
    assert evaluate(where / "recogniser_A" / "best_A.pt")["loss"] == result["best"]["loss"]


def test_patience_ends_the_recogniser(train):
    """With a learning rate at which the loss only jumps about."""
    training = ("--pre_epochs", 1, "--recognition_epochs", 60, "--recognition_lr", 1.0)
    stopped = train(*training, "--patience", 2)["last"]["epoch"]
    assert 2 < stopped < 60
    assert train(*training)["last"]["epoch"] == 60


def test_save_flag(train, ias, tmp_path, capsys):
    kept = train("--epochs", 2)
    for path in folder(tmp_path, "recogniser_A").glob("*.pt"):
        path.unlink()
    assert without_time(train("--epochs", 2, "--save_flag", 0)) == without_time(kept)
    assert [path.name for path in folder(tmp_path, "recogniser_A").glob("*.pt")] == ["last.pt"]
    assert "no checkpoint at" in error_of(capsys, "train_smsge", *ias, "--quiet", "--mode", "Eval")


@pytest.mark.parametrize(
    ("key", "protocol", "expected"),
    [
        (("KS20", "probe"), "full", (64, 256, 0.0005, 200, 0.0025)),
        (("IAS", "A"), "full", (128, 256, 0.0025, 120, 0.0025)),
        (("IAS", "B"), "full", (64, 256, 0.0025, 120, 0.0025)),
        (("IAS", "A"), "released", (64, 256, 0.0025, 120, 0.0025)),
        (("KGBD", "probe"), "full", (256, 128, 0.0025, 160, 0.0025)),
        (("BIWI", "Walking"), "full", (256, 256, 0.005, 120, 0.0025)),
        (("CASIA_B", "test"), "full", (128, 256, 0.0005, 160, 0.0005)),
        (("CASIA_B", "nm.nm"), "full", (128, 256, 0.0005, 200, 0.0005)),
    ],
)
def test_published_settings(key, protocol, expected):
    settings = resolve(*SETTINGS[protocol], key, {})
    names = ("batch_size", "D_h", "lr", "pre_epochs", "recognition_lr")
    assert tuple(settings[name] for name in names) == expected
    released = protocol == "released"
    assert settings["subsets"] == ("fixed" if released else "resample")
    assert settings["prefixes"] == ("f+1" if released else "f")
    assert (settings["patience"], settings["P"], settings["fusion_lambda"]) == (100, 8, 1)


# Tasks and data sets


def test_recognition_trains_on_the_gallery_and_retrieval_does_not(train, tmp_path, write_dataset):
    write_dataset(tmp_path / "data", "KS20", 6, 4, 5, np.random.RandomState(0), noise=4)
    ks20 = ["--dataset", "KS20", "--data", tmp_path / "data", "--out", tmp_path / "out"]
    both = train("--epochs", 2, dataset=ks20)
    assert both["retrieval"]["trained_on"] == ["train", "gallery"]
    assert both["last"]["step"] == 2 * 2 * 40 // 20
    alone = train("--epochs", 2, "--task", "retrieval", dataset=ks20)
    assert (alone["kind"], alone["trained_on"], alone["probes"]) == ("retrieval", ["train"], 20)
    for row in ("best", "last", "untrained"):
        assert set(alone[row]) >= set(RETRIEVAL)
    assert alone["untrained"] == both["retrieval"]["untrained"]
    assert alone["last"] != both["retrieval"]["last"]
    assert train("--task", "retrieval", "--mode", "Eval", dataset=ks20)["mAP"] == alone["mAP"]
    again = train("--task", "retrieval", "--pre_train", 0, "--epochs", 2, dataset=ks20)
    assert again["mAP"] == alone["mAP"]


def test_kgbd_is_not_resampled(train, tmp_path, write_dataset):
    write_dataset(tmp_path / "data", "KGBD", 6, 3, 7, np.random.RandomState(0))
    kgbd = ["--dataset", "KGBD", "--data", tmp_path / "data", "--out", tmp_path / "out"]
    # 21 training and 21 gallery windows: two batches of 20 and one of 2.
    assert train("--epochs", 1, dataset=kgbd)["last"]["step"] == 3


def test_casia_b_view(train, tmp_path, write_dataset, evaluate, capsys):
    write_dataset(tmp_path / "data", "CASIA_B", 20, 3, 7, np.random.RandomState(0), view=2)
    casia = ["--dataset", "CASIA_B", "--data", tmp_path / "data", "--out", tmp_path / "out", "--view", 2]
    result = train("--epochs", 1, "--save_features", tmp_path / "f.npz", dataset=casia)
    assert (result["probe"], list(result["tests"]), result["retrieval"]) == ("test", ["test"], {})
    assert result["length"] == 20
    assert features.read(tmp_path / "f.test.npz").frames.shape == (21, 20, 16)
    assert features.read(tmp_path / "f.train.npz").labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert train("--mode", "Eval", dataset=casia)["rank1"] == result["best"]["rank1"]
    path = tmp_path / "out/SM-SGE/CASIA_B/view_2_IJPB/recogniser_test/best_test.pt"
    assert evaluate(path, dataset="CASIA_B")["loss"] == result["best"]["loss"]
    casia[-1] = 3  # each view has data of its own
    assert "no CASIA_B data of length 20" in error_of(capsys, "train_smsge", *casia, *SMALL)


def test_casia_b_matching_is_retrieval(train, tmp_path, write_dataset):
    """As the published command has it, without naming the task."""
    write_dataset(tmp_path / "data", "CASIA_B", 20, 4, 6, np.random.RandomState(0))
    casia = ["--dataset", "CASIA_B", "--data", tmp_path / "data", "--out", tmp_path / "out", "--length", 20]
    result = train("--probe_type", "cl.nm", "--epochs", 1, dataset=casia)
    assert (result["kind"], result["probe"]) == ("retrieval", "cl.nm")


# The released protocol


def test_released_protocol(train, tmp_path):
    result = train("--epochs", 2, "--protocol", "released", "--batch_size", 15)
    assert (result["settings"]["subsets"], result["settings"]["prefixes"]) == ("fixed", "f+1")
    # Two rounds of 3 windows a person make two whole batches of 15; of 20 test windows one batch is counted.
    assert result["last"]["step"] == 2 * 2
    assert np.sum(result["last"]["confusion"]) == 15
    assert (result["retrieval"]["probes"], result["retrieval"]["gallery"]) == (15, 15)
    evaluated = train("--protocol", "released", "--mode", "Eval", "--batch_size", 15)
    assert {name: evaluated[name] for name in FIGURES} == result["best"]


# Saved models


def test_eval_and_evaluate_agree(train, tmp_path, evaluate):
    result = train("--epochs", 3)
    evaluated = train("--mode", "Eval")
    for name in "AB":
        assert evaluated["tests"][name] == result["tests"][name]["best"]
    assert {name: evaluated[name] for name in FIGURES} == result["best"]
    assert all(evaluated["retrieval"][name] == result["retrieval"][name] for name in RETRIEVAL)
    found = evaluate(folder(tmp_path, "recogniser_A", "best_B.pt"))
    assert (found["kind"], found["probe"]) == ("recognition", "B")
    assert {name: found[name] for name in FIGURES} == result["tests"]["B"]["best"]
    found = evaluate(folder(tmp_path, "recogniser_A", "final.pt"), "--probe", "A")
    assert {name: found[name] for name in FIGURES} == result["last"]
    found = evaluate(folder(tmp_path, "encoder", "best.pt"), "--probe", "A")
    assert found["kind"] == "retrieval"
    assert all(found[name] == result["retrieval"][name] for name in RETRIEVAL)


@pytest.mark.parametrize("option", [(), ("--reverse",)])
def test_feature_files(train, tmp_path, option):
    result = train("--epochs", 2, *option, "--save_features", tmp_path / "f.npz")
    parts = {part: features.read(tmp_path / f"f.{part}.npz") for part in ("train", "probe", "gallery")}
    stored = data.load("IAS", "A", 6, tmp_path / "data", balance=False, shuffle=False)
    model, _ = load_model(folder(tmp_path, "encoder", "best.pt"), 20, 6, torch.device("cpu"))
    for part, found in parts.items():
        sequences = getattr(stored, part)
        np.testing.assert_array_equal(found.labels, sequences.labels)
        assert found.frames.shape == (20, 6, 16)
        np.testing.assert_array_equal(found.features, found.frames[:, -1])
        np.testing.assert_array_equal(found.frames, encode_frames(model, sequences.skeletons).numpy())
    files = ["--probe", tmp_path / "f.probe.npz", "--gallery", tmp_path / "f.gallery.npz"]
    assert run("evaluate", *files, "--json", tmp_path / "e.json", "--quiet") == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert all(found[name] == result["retrieval"][name] for name in RETRIEVAL)


def test_features_of_a_model():
    """Frame features are the states of the prefixes, the sequence's is the last; a recogniser can be given more."""
    model = SMSGE(20, 4, heads=1, hidden=4)
    skeletons = np.random.RandomState(0).normal(size=(3, 5, 20, 3)).astype(np.float32)
    with torch.no_grad():
        states = model.states(model.graphs(torch.from_numpy(skeletons)), 6)
    torch.testing.assert_close(encode_frames(model, skeletons), states[:, :5])
    torch.testing.assert_close(encode_set(model, skeletons), states[:, 4])
    for prefixes, number in (("f", 5), ("f+1", 6)):
        for last_pre in (0, 1):
            rows = encode_rows(model, skeletons, {"prefixes": prefixes, "last_pre": last_pre})
            torch.testing.assert_close(rows, states[:, (number - 1) * last_pre : number])


def test_reverse_reads_the_windows_backwards():
    forward, backward = (SMSGE(20, 4, heads=1, hidden=4, reverse=reverse) for reverse in (False, True))
    skeletons = np.random.RandomState(0).normal(size=(3, 5, 20, 3)).astype(np.float32)
    turned = np.ascontiguousarray(skeletons[:, ::-1])
    assert torch.equal(encode_frames(backward, skeletons), encode_frames(forward, turned))
    assert SMSGE(**backward.arguments).reverse


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "C"), "unknown probe 'C' for IAS"),
        (("--loss", "l3"), "invalid choice: 'l3'"),
        (("--s_range", "f/3"), "invalid choice: 'f/3'"),
        (("--subsets", "often"), "invalid choice: 'often'"),
        (("--prefixes", "7"), "invalid choice: '7'"),
        (("--bi", 2), "invalid choice: 2"),
        (("--pre_train", 2), "invalid choice: 2"),
        (("--scales", "IX"), "some of the letters IJPB, each once, found 'IX'"),
        (("--scales", "JJ"), "each once, found 'JJ'"),
        (("--scales", ""), "each once, found ''"),
        (("--P", 0), "at least 1"),
        (("--n_hood", 0), "at least 1"),
        (("--sample_num", 0), "at least 1"),
        (("--patience", 0), "at least 1"),
        (("--fusion_lambda", -1), "expected at least 0, found -1"),
        (("--fusion_lambda", "nan"), "expected at least 0, found nan"),
        (("--fusion_lambda", 0.5, "--single_level"), "use one of them"),
        (("--pred_margin", 6), "f = 6 frames, 6 predicted ahead"),
        (("--pred_margin", 7), "f = 6 frames, 7 predicted ahead"),
        (("--pred_margin", -1), "0 frames or more, found -1"),
        (("--length", 2, "--pred_margin", 3), "f = 2 frames, 3 predicted ahead"),
        (("--pred_margin", 1, "--s_range", "f"), "no such subset"),
        (("--pred_margin", 1, "--bi"), "use one of them"),
        (("--length", 1, "--s_range", "f/2"), "no such subset"),
        (("--length", 4), "no IAS data of length 4"),
        (("--data", "nowhere"), "python -m data.simulate --dataset IAS"),
        (("--epochs", 0), "at least 1"),
        (("--device", "abacus"), "unknown device 'abacus'"),
        (("--view", 3), "IAS has no views"),
        (("--view", 3, "--probe", "A"), "leave out --probe"),
        (("--batch_size", 3), "at least the number of persons"),
        (("--batch_size", 64), "at least as many windows as the batch size"),
        (
            ("--protocol", "released", "--batch_size", 64, "--no-balance"),
            "whole batch of 64 sequences, found 20",
        ),
        (("--resume",), "no checkpoint at"),
        (("--mode", "Eval"), "no checkpoint at"),
        (("--mode", "Eval", "--task", "retrieval"), "no checkpoint at"),
        (("--pre_train", 0), "IJPB/encoder/best.pt"),
    ],
)
def test_wrong_use(ias, capsys, arguments, message):
    small = [] if "--batch_size" in arguments else ["--batch_size", 20]
    assert message in error_of(capsys, "train_smsge", *ias, "--quiet", *small, *arguments)


def test_casia_b_recognition_needs_a_view(tmp_path, capsys):
    casia = ["--dataset", "CASIA_B", "--out", tmp_path, "--quiet", "--task", "recognition"]
    assert "needs --view 0 to 10" in error_of(capsys, "train_smsge", *casia)


def test_unknown_persons_are_refused(ias, train, tmp_path, capsys):
    train("--epochs", 1)
    row = data.datasets.get("IAS")
    test_b = part_of(layouts(row, 6, tmp_path / "data")[0], row, "B", 6)
    labels = np.load(test_b.frame_id)
    np.save(test_b.frame_id, np.where(labels == 4, 77, labels))
    message = error_of(capsys, "train_smsge", *ias, *SMALL)
    assert "test split B" in message and "labels 77" in message
    where = ["--dataset", "IAS", "--data", tmp_path / "data", "--quiet"]
    path = folder(tmp_path, "recogniser_A", "best_A.pt")
    assert "labels 77" in error_of(capsys, "evaluate", "--checkpoint", path, *where)


@pytest.mark.parametrize(
    ("option", "name"), [(("--loss", "MSE"), "loss"), (("--seed", 5), "seed"), (("--D_h", 8), "D_h")]
)
def test_resume_with_other_settings_is_refused(train, ias, tmp_path, capsys, option, name):
    train("--epochs", 1)
    before = folder(tmp_path, "encoder", "last.pt").read_bytes()
    message = error_of(capsys, "train_smsge", *ias, *SMALL, "--resume", "--epochs", 1, *option)
    assert f"made with {name} = " in message
    assert folder(tmp_path, "encoder", "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "name"), [(("--D_h", 8), "D_h"), (("--P", 1), "heads"), (("--reverse",), "reverse")]
)
def test_reloading_another_model_is_refused(train, ias, capsys, option, name):
    train("--epochs", 1)
    message = error_of(capsys, "train_smsge", *ias, *SMALL, "--pre_train", 0, "--epochs", 1, *option)
    assert f"made with {name} = " in message


def test_wrong_checkpoints_are_refused(train, ias, tmp_path, write_dataset, capsys):
    train("--epochs", 1)
    write_dataset(tmp_path / "data", "KS20", 6, 5, 4, np.random.RandomState(0))
    write_dataset(tmp_path / "data", "IAS", 4, 5, 4, np.random.RandomState(0))
    encoder = folder(tmp_path, "encoder", "best.pt")
    for path in (folder(tmp_path, "recogniser_A", "best_A.pt"), encoder):
        where = ["--checkpoint", path, "--data", tmp_path / "data", "--quiet"]
        message = error_of(capsys, "evaluate", *where, "--dataset", "KS20", "--probe", "probe")
        assert "20 joints, these data have 25" in message
        message = error_of(capsys, "evaluate", *where, "--dataset", "IAS", "--probe", "A", "--length", 4)
        assert "trained with f = 6, found --length 4" in message
    other = tmp_path / "out" / "SM-SGE" / "KS20" / "IJPB" / "encoder" / "best.pt"
    other.parent.mkdir(parents=True)
    other.write_bytes(encoder.read_bytes())
    ks20 = ["--dataset", "KS20", "--data", tmp_path / "data", "--out", tmp_path / "out", "--pre_train", 0]
    assert "made with dataset = IAS" in error_of(capsys, "train_smsge", *ks20, *SMALL)
    ks20[-2:] = ["--mode", "Eval", "--task", "retrieval"]
    encoder.rename(folder(tmp_path, "encoder", "kept.pt"))
    other = tmp_path / "out" / "SM-SGE" / "KS20" / "IJPB_retrieval" / "encoder" / "best.pt"
    other.parent.mkdir(parents=True)
    other.write_bytes(folder(tmp_path, "encoder", "kept.pt").read_bytes())
    assert "20 joints, these data have 25" in error_of(capsys, "train_smsge", *ks20, *SMALL)
    other.write_bytes(other.read_bytes()[:1000])
    assert "truncated or damaged" in error_of(capsys, "train_smsge", *ks20, *SMALL)


def test_diverging_training_is_reported(ias, capsys):
    message = error_of(capsys, "train_smsge", *ias, *SMALL, "--lr", 1e30, "--epochs", 2)
    assert "NaN" in message
