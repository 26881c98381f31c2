"""train_mgscr.py end to end on small random data; the released run, followed step by step."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import unpack
from commands import error_of, run
from training import RETRIEVAL, pick, same, without_time

from skeleton_reid import data
from skeleton_reid.data.sampling import draw_subsets, training_order
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.mgscr import MGSCR, tiled

SHARED = Path(__file__).parents[2] / "shared" / "golden"


@pytest.fixture
def train(training):
    return training("MG-SCR")


def test_both_phases(train, capsys):
    """Recognition of both tests; the saved network has the metrics; Eval and evaluate.py agree."""
    result = train("--epochs", 4)
    assert set(result["tests"]) == {"A", "B"} and result["kind"] == "recognition"
    assert "\npre-trained encoder " in capsys.readouterr().out  # what is retrieved by
    rows = train.history("recogniser")
    assert len(train.history("encoder")) == len(rows) == 4
    assert max(float(row["rank1_A"]) for row in rows) == result["best"]["rank1"] > 0.3
    assert float(rows[-1]["cross_entropy"]) < float(rows[0]["cross_entropy"])
    best = train.path("recogniser", "best_A.pt")
    content = checkpoint.load(best)
    network = {n.removeprefix("network."): x for n, x in content["recogniser"]["model"].items()}
    assert all(torch.equal(content["model"][f"recogniser.{n}"], x) for n, x in network.items())
    for again in (train("--mode", "Eval"), train.evaluate(best, "--probe", "A")):
        for name in ("rank1", "nAUC_roc", "loss"):
            assert again[name] == pytest.approx(result["best"][name], abs=1e-6)
    retrieval = train.evaluate(best, "--probe", "A", "--retrieval")
    assert retrieval["kind"] == "retrieval" and retrieval["supervision"] == "identities"
    assert retrieval["mAP"] != train.evaluate(train.path("encoder", "best.pt"), "--probe",
                                              "A")["mAP"]


def test_same_seed_and_resume(train, training, tmp_path):
    """Interrupted in either phase and resumed: the same to the last bit; another seed is not."""
    whole = train("--pre_epochs", 3, "--recognition_epochs", 3)
    weights = train.weights("encoder"), train.history("recogniser")
    train.out = tmp_path / "again"
    train("--pre_epochs", 2, "--recognition_epochs", 1)
    result = train("--pre_epochs", 3, "--recognition_epochs", 1, "--resume")
    assert same(train.weights("encoder"), weights[0])
    result = train("--pre_epochs", 3, "--recognition_epochs", 3, "--resume")
    assert train.history("recogniser") == weights[1]
    assert without_time(result) | {"settings": 0} == without_time(whole) | {"settings": 0}
    train.out = tmp_path / "other"
    train("--pre_epochs", 3, "--recognition_epochs", 3, "--seed", 1)
    assert not same(train.weights("encoder"), weights[0])


def test_without_pre_training(train):
    train.script = train.script.__class__(**vars(train.script)
                                          | {"folder": "MG-SCR/IAS/subset_none"})
    train("--epochs", 1, "--task", "none")
    assert checkpoint.load(train.path("encoder", "best.pt"))["epoch"] == 0
    assert len(train.history("recogniser")) == 1


def test_retrieval(train, tmp_path):
    """Every epoch is scored, the best kept; what SimMC is given is the encoder before labels."""
    train.script = train.script.__class__(**vars(train.script)
                                          | {"folder": "MG-SCR/IAS/subset_retrieval"})
    file = tmp_path / "F.npz"
    result = train("--epochs", 2, "--task", "retrieval", "--save_features", file)
    rows = train.history()
    assert [row["epoch"] for row in rows] == ["0", "1", "2"] and result["kind"] == "retrieval"
    assert "pre-trained encoder" in result["baselines"]
    assert pick(train.evaluate(train.path("best.pt")), RETRIEVAL) == pick(result["best"], RETRIEVAL)
    assert pick(train("--task", "retrieval", "--mode", "Eval"),
                RETRIEVAL) == pick(result["best"], RETRIEVAL)
    with np.load(tmp_path / "F.probe.npz") as features:
        frames, whole = features["frames"], features["features"]
    assert frames.shape[1:] == (6, 160)  # F, 8 J numbers a frame
    np.testing.assert_allclose(whole, frames.mean(axis=1), atol=1e-5)
    assert not same(train.weights("encoder"), train.weights())


@pytest.mark.parametrize(("option", "value", "phase"), [("--c_lambda", 0.1, "encoder"),
                                                        ("--D_h", 4, "encoder"),
                                                        ("--frames", "tiled", "encoder"),
                                                        ("--subsets", "fixed", "encoder"),
                                                        ("--lr", 0.02, "encoder"),
                                                        ("--batch_size", 10, "encoder"),
                                                        ("--no-balance", None, "encoder"),
                                                        ("--prefixes", "f", "recogniser"),
                                                        ("--recognition_lr", 0.1, "recogniser"),
                                                        ("--decay_all", None, "recogniser")])
def test_every_setting_has_an_effect(option, value, phase, train, once):
    """On the losses of the phase that it is of."""
    usual, _ = once("MG-SCR", "--epochs", 1)
    words = (option,) if value is None else (option, value)
    if value == "tiled":
        train.script = train.script.__class__(**vars(train.script) | {"folder": "MG-SCR/IAS/tiled"})
    train("--epochs", 1, *words)
    assert train.history(phase) != usual.history(phase)


def test_wrong_use(train, capsys):
    assert "--frames" in train.error(capsys, "--frames", "all")
    assert "no subset" in train.error(capsys, "--length", 1)
    words = ("--task", "none", "--pre_epochs", 3)
    assert "leave out --pre_epochs" in train.error(capsys, *words)
    assert "arguments: --encoder" in train.error(capsys, "--encoder", "best.pt")


# ---- the released run


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the released run is not at {SHARED}")
def test_released_run_is_followed(tmp_path):
    """Its order, its draws, and every loss of the first epoch of pre-training."""
    folder = SHARED / "mgscr_trained_KS20"
    unpack(SHARED / "smsge_trained_KS20" / "data.tar.gz", tmp_path)
    released = json.loads((folder / "log.json").read_text())["log"]["pre"]  # by step and subset
    rng = np.random.RandomState(0)
    sets = data.load_recognition("KS20", None, 6, next(tmp_path.rglob("Datasets")), balance=False,
                                 shuffle=False)
    order = training_order(sets.train.labels, 48, rng, shuffle=False)
    subsets = draw_subsets(rng, 6, pred_margin=1)
    with np.load(folder / "order.npz") as file:
        np.testing.assert_array_equal(sets.train.labels[order], file["labels_train"])
    with np.load(folder / "init.npz") as file:
        model = MGSCR.from_published(dict(file), frames="tiled")
    x = torch.from_numpy(sets.train.skeletons[order])
    optimizer, readings = TFAdam(model.parameters(), 0.005), [tiled(T, 48) for T in subsets]
    for number, batch in enumerate(x.split(48)):
        losses = model.losses(model.graphs(batch), readings)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        np.testing.assert_allclose(losses["each"].detach(), released[number], rtol=1e-4)


def test_a_source_is_an_encoder_without_labels(once, tmp_path, capsys):
    """SimMC on it would else be said to be unsupervised."""
    train, _ = once("MG-SCR", "--epochs", 1)
    words = (*train.on(), "--batch_size", 16, "--epochs", 1, "--quiet", "--out", tmp_path)
    message = error_of(capsys, "train_simmc", *words, "--source",
                       train.path("recogniser", "best_A.pt"))
    assert "expected an encoder without supervision, found identities" in message
    assert run("train_simmc", *words, "--source", train.path("encoder", "best.pt")) == 0
