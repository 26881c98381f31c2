"""What every method of the table must do: a new one is tested by its line in the table."""

import json
from collections import Counter
from dataclasses import fields
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from commands import run, score_files
from training import RETRIEVAL, SCRIPTS, history, pick, without_time

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets, loader, sampling
from skeleton_reid.engine import baselines, checkpoint, loop
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.options import PhaseOptions
from skeleton_reid.engine.parsing import resolve

NOT_EXPORTED = {"PoseGait-own-reading": "cannot be exported to ONNX"}  # by method: why not
# Settings that end a run, or choose among its epochs, and change no number of one epoch.
LATER = {"patience", "best_from", "rounds", "recognition_epochs", "pre_epochs"}
# With these, clusters are not the persons, whatever they are made of.
UNCLEAR = {("Hi-MPC", "cluster_on"): ("--eps", 0.3)}
# Values of settings for which a little more or less is the same.
OTHER = {"scales": "JPB", "eps": 0.3, "min_samples": 14, "k1": 4, "batch_size": 10}
OTHER |= {"prob_s": 0.9, "prob_t": 0.9}
OTHER[("statistics", "min_samples")] = 4
OTHER[("MG-SCR", "recognition_lr")] = 0.02
OTHER |= {("TranSG", "H"): 12, ("TranSG", "n_heads"): 4, ("MoCos", "H"): 18,
          ("MoCos", "n_heads"): 12}


def phases(method):
    """The folders of a run's checkpoints, below its own."""
    two = issubclass(METHODS[method].options, PhaseOptions)
    return ["encoder", SCRIPTS[method].recogniser] if two else [""]


def metrics(result):
    """The retrieval metrics of a run, of its best model."""
    return pick(result["retrieval"] if "retrieval" in result else result["best"], RETRIEVAL)


def test_training_takes_denormal_numbers_for_zero(training):
    assert torch.tensor(1e-39) * 1 > 0
    training("SimMC")("--epochs", 1)
    assert torch.tensor(1e-39) * 1 == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_a_run_leaves(method, training, tmp_path):
    """run.json, a gradient for every parameter, and a best model of which --mode Eval, evaluate.py
    and the feature files give the metrics of the results.
    """
    train = training(method)
    result = train("--epochs", 2, "--save_features", tmp_path / "f.npz")
    record = json.loads(train.path("run.json").read_text())
    assert record["method"] == result["method"] and record["settings"] == result["settings"]
    assert json.loads(train.path("results.json").read_text())["best"] == result["best"]
    for phase in phases(method):
        state = checkpoint.load(train.path(phase, "last.pt"))["state"]
        names = [name for name, value in state["model"].items() if value.is_floating_point()]
        moments = [
            own["exp_avg"] for part in state.values() if isinstance(part, dict)
            for optimizer in (part, part.get("optimizer"))
            if isinstance(optimizer, dict) and "param_groups" in optimizer
            for own in optimizer["state"].values()
        ]  # fmt: skip
        assert names and moments and all(moment.abs().max() > 0 for moment in moments)
    encoder = train.path(phases(method)[0], "best.pt")
    assert checkpoint.load(encoder)["method"] == result["method"]
    evaluated = train("--mode", "Eval")
    probe = () if method == "DF" else ("--probe", result["probe"])
    for found in (evaluated.get("retrieval",
                                evaluated), train.evaluate(encoder,
                                                           *probe), score_files(tmp_path / "f")):
        assert pick(found, RETRIEVAL) == metrics(result)


@pytest.mark.parametrize("method", METHODS)
def test_the_data_are_read_once(method, training, monkeypatch):
    """For the training, the scores and the baselines. Twice for a run of two phases: its
    recogniser has other splits; three times if the encoder's skeletons are not centred.
    """
    seen, read = Counter(), loader.read_split
    monkeypatch.setattr(loader, "read_split", lambda part, *rest:
                        (seen.update([part.folder]), read(part, *rest))[1])
    training(method)("--epochs", 1)
    two_phases = issubclass(METHODS[method].options, PhaseOptions)
    uncentred = not METHODS[method].settings.centred
    assert seen and max(seen.values()) == 1 + two_phases + uncentred


@pytest.mark.parametrize("method", METHODS)
def test_classes_are_balanced_only_in_data_sets_that_need_it(method, write_dataset, tmp_path,
                                                             monkeypatch):
    """Unless an option of the method says otherwise. The settings say what is done."""
    if not getattr(METHODS[method].choose("full", "IAS", "A", {}), "balance", False):
        pytest.skip("draws from the windows as they are")
    calls = []
    monkeypatch.setattr(sampling, "class_balanced",
                        lambda labels, *_: calls.append(len(labels)) or np.arange(len(labels)))
    monkeypatch.setattr(loop.Epochs, "__init__", Mock(side_effect=InputError("far enough")))
    for dataset, more, count in (("KGBD", (), 0), ("KGBD", ("--balance",), 1), ("IAS", (), 1)):
        calls.clear()
        write_dataset(tmp_path, dataset, 6, 3, 12, np.random.RandomState(0))
        source = ("--source", features(tmp_path)) if method == "DF" else ()
        words = (*SCRIPTS[method].small, *source, "--batch_size", 9, "--out", tmp_path / "out")
        assert run(SCRIPTS[method].name, "--dataset", dataset, "--data", tmp_path, *words,
                   *more) == 2
        assert len(calls) == count
        words = {"dataset": datasets.get(dataset)} | ({"balance": True} if more else {})
        if method == "DF":
            words["source"] = "AGE"
        assert resolve(METHODS[method], words).settings.balance == bool(count)


def features(folder):
    """Feature files of random frames, for train_df.py."""
    for part in ("train", "probe", "gallery"):
        frames = np.random.RandomState(0).normal(size=(36, 6, 9))
        np.savez(folder / f"X.{part}.npz", frames=frames, features=frames.mean(axis=1),
                 labels=np.repeat(np.arange(3), 12))
    return folder / "X.npz"


@pytest.mark.parametrize("method", METHODS)
def test_the_same_numbers_again_and_after_interruptions(method, training, once):
    before, whole = once(method, "--epochs", 3)
    train = training(method)
    train("--epochs", 1)
    train("--epochs", 2, "--resume")
    assert without_time(train("--epochs", 3, "--resume")) == without_time(whole)
    for phase in phases(method):
        assert train.history(phase) == before.history(phase)
    assert train("--epochs", 1, "--seed", 1)["last"] != once(method, "--epochs", 1)[1]["last"]


def changed(method, name, value, option):
    """Words of the command line with another value for a setting."""
    if (other := OTHER.get((method, name), OTHER.get(name))) is not None:
        return f"--{name}", other
    if "choices" in option:
        return f"--{name}", next(x for x in reversed(option["choices"]) if x != value)
    if isinstance(value, bool):
        return (f"--no-{name}" if value else f"--{name}",)
    return f"--{name}", value + 1 if isinstance(value, int) else 0.7 * value + 0.01


SETTINGS = [(method, own.name) for method in METHODS for own in fields(METHODS[method].settings)
            if own.name not in LATER]  # fmt: skip


@pytest.mark.parametrize(("method", "name"), SETTINGS)
def test_every_setting_has_an_effect(method, name, training, once, monkeypatch):
    """On the weights, the history or the metrics of a run."""
    monkeypatch.setattr(baselines, "score_all", lambda *_: {})
    # The seed is named so that no other test is given this run, which has no baselines.
    words = ("--epochs", 1, "--seed", 0, *UNCLEAR.get((method, name), ()))
    before, plain = once(method, *words)
    train = training(method)
    if name == "tracklets":  # of four windows
        folder = train.parts["train"].folder
        count = len(np.load(train.parts["train"].frame_id))
        np.save(folder / "recording_id_KS20_6.npy", np.arange(count) // 4)
    option = next(own for own in fields(METHODS[method].settings) if own.name == name)
    value = plain["settings"][name]
    result = train(*words, *changed(method, name, value, option.metadata["words"]))
    assert result["settings"][name] != value
    files = sorted(before.path().parent.rglob("best*.pt")), sorted(train.out.rglob("best*.pt"))
    rows = [[history(file.with_name("history.csv")) for file in own] for own in files]
    weights = [[checkpoint.load(file)["model"] for file in own] for own in files]
    keys = ("best", "last", "attention", "retrieval")
    same = [result.get(key) == plain.get(key) for key in keys] + [rows[0] == rows[1]]
    same += [
        all(a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
            for a, b in zip(*weights, strict=True))
    ]  # fmt: skip
    assert not all(same)


@pytest.mark.parametrize("method", METHODS)
def test_the_checkpoint_of_another_version_is_refused(method, once, tmp_path, capsys):
    train, _ = once(method, "--epochs", 1)
    content = checkpoint.load(train.path(phases(method)[0], "best.pt"))
    for name, value in (("arguments", 1), ("model", torch.ones(1))):
        other = content | {name: content[name] | {"unheard_of": value}}
        checkpoint.save(tmp_path / "best.pt", other)
        assert "unheard_of" in train.evaluate_error(capsys, tmp_path / "best.pt")


@pytest.mark.parametrize("method", [name for name in METHODS if name != "DF"])
def test_onnx_or_one_line_why_not(method, once, tmp_path, capsys):
    pytest.importorskip("onnx")
    train, _ = once(method, "--epochs", 1)
    code = run("export", train.path(phases(method)[0], "best.pt"), "--onnx", tmp_path / "m.onnx")
    error = capsys.readouterr().err
    if method in NOT_EXPORTED:
        assert code == 2 and error.count("\n") == 1 and NOT_EXPORTED[method] in error
    else:
        assert code == 0, error
