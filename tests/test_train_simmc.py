"""train_simmc.py: what its training does and leaves behind, its options, resuming, wrong use."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run, score_files
from training import RETRIEVAL, pick, without_time

from skeleton_reid import data
from skeleton_reid.engine import checkpoint, clusters, features
from skeleton_reid.engine.encoding import encode_set, load_model

ROOT = Path(__file__).parent.parent


@pytest.fixture
def train(training):
    """train(*arguments): run the script on KS20, 8 persons with 8 windows each, and return its
    results.
    """
    return training("SimMC")


def test_results_and_files(train, capsys):
    result = train("--epochs", 3)
    assert (result["kind"], result["method"]) == ("retrieval", "SimMC")
    assert (result["dataset"], result["probe"], result["length"]) == ("KS20", "probe", 6)
    assert (result["protocol"], result["seed"], result["probes"], result["gallery"]) == ("full", 0,
                                                                                         64, 64)
    for row in ("best", "last", "untrained"):
        assert all(0 <= result[row][name] <= 1 for name in RETRIEVAL)
    assert 1 <= result["best"]["epoch"] <= 3
    assert result["last"]["epoch"] == 3
    assert result["top1"] == result["best"]["top1"] >= result["last"]["top1"]
    table = capsys.readouterr().out
    for name in ("mean-pose", "untrained encoder", "D-13", "D-16", "SimMC best", "SimMC last"):
        assert name in table
    rows = train.history()
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[0]["top1"]) == result["untrained"]["top1"]
    for name in ("clusters_1", "clusters_2", "outliers", "MPC", "MIC", "MI_1", "AMI_2"):
        assert np.isfinite(float(rows[1][name]))
    log = train.path("log.txt").read_text()
    assert "epoch   3" in log
    assert "train 128 (64 stored)  probe" in log  # resampled to equal shares of the persons


def test_training_lowers_the_losses(train):
    train("--epochs", 6, "--lr", 0.003)
    rows = train.history()
    for name in ("MPC", "MIC"):
        assert float(rows[5][name]) < float(rows[0][name]) - 0.1


def test_early_stop(train):
    result = train("--patience", 2, "--lr", 1e-12)  # nothing changes: epoch 1 is the best
    assert result["best"]["epoch"] == 1
    assert result["last"]["epoch"] == 3
    assert "no better top-1 for 2 epochs" in result["stopped"]


def test_no_clusters_later_stops_with_the_reason(train, monkeypatch):
    calls = []

    def clusters_for_two_epochs(v, *_, **__):
        calls.append(len(v))
        return np.arange(len(v)) % 3 if len(calls) <= 4 else np.full(len(v), -1)

    monkeypatch.setattr(clusters, "cluster", clusters_for_two_epochs)
    result = train("--epochs", 9)
    assert "no clusters" in result["stopped"]
    assert result["last"]["epoch"] == 2


# Interruption


def test_ctrl_c_ends_with_130_and_resumes(train):
    """A real process, interrupted in the middle, then resumed: the numbers of an uninterrupted
    run.
    """
    command = [sys.executable, ROOT / "train_simmc.py", *train.words("--epochs", 100000)]
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stderr=subprocess.PIPE,
                               text=True)
    last = train.path("last.pt")
    try:
        while not last.exists() or checkpoint.load(last)["epoch"] < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "--resume" in error
    epochs = checkpoint.load(last)["epoch"] + 2
    resumed = train("--epochs", epochs, "--resume")
    assert without_time(resumed) == without_time(train("--epochs", epochs))


# Options


def test_released_protocol_drops_incomplete_batches(train, write_dataset):
    write_dataset(train.data, "KS20", 6, 8, 9, np.random.RandomState(0), noise=2.5)  # 72 windows
    result = train("--epochs", 1, "--protocol", "released")
    assert (result["probes"], result["gallery"]) == (64, 64)
    result = train("--epochs", 1)
    assert (result["probes"], result["gallery"]) == (72, 72)


def test_casia_b_same_set_excludes_self(train, write_dataset):
    write_dataset(train.data, "CASIA_B", 20, 6, 6, np.random.RandomState(1), noise=2.5)
    result = train("--probe_type", "nm.nm", "--length", 20, "--epochs", 1, dataset="CASIA_B")
    assert 0 < result["top1"] < 1  # no self match: a probe's nearest neighbour is another sequence
    assert (train.out / "CASIA_B" / "nm.nm_best.pt").is_file()


def test_save_flag_writes_arrays(train):
    train("--epochs", 2, "--save_flag", 1)
    tightness = np.load(train.path("arrays", "mACT.npy"))
    assert tightness.shape == (3,)
    assert (tightness[:2] > 1).all()  # samples are nearer to their own centre
    assert np.load(train.path("arrays", "mRCL.npy")).shape == (3,)


def test_save_model_0_keeps_no_model(train):
    train("--epochs", 1, "--save_model", 0)
    assert not train.path("best.pt").exists()


def test_model_size_is_printed(train, capsys):
    where = (*train.on(), "--out", train.out)  # with H = 256
    assert run("train_simmc", *where, "--epochs", 1, "--batch_size", 32, "--model_size", 1) == 0
    # 75 x 256, 256 x 256, 256 x 256 and three biases; 2 operations a weight of the encoder for each
    # of 6 frames.
    assert (f"151,040 parameters, {6 * 2 * (75 * 256 + 256 * 256):,} FLOPs"
            in capsys.readouterr().out)


# Saved models


def test_feature_files(train, tmp_path):
    best = train("--epochs", 2, "--save_features", tmp_path / "f.npz")["best"]
    parts = {
        part: features.read(tmp_path / f"f.{part}.npz") for part in ("train", "probe", "gallery")
    }
    stored = data.load("KS20", "probe", 6, train.data, balance=False, shuffle=False)
    for part, found in parts.items():
        sequences = getattr(stored, part)
        np.testing.assert_array_equal(found.labels, sequences.labels)
        assert found.features.shape == (len(sequences), 16)
        np.testing.assert_allclose(found.frames.mean(axis=1), found.features, atol=1e-5)
    model, _ = load_model(train.path("best.pt"), data.skeleton.get(25), 6, torch.device("cpu"))
    np.testing.assert_array_equal(parts["probe"].features,
                                  encode_set(model, stored.probe.skeletons).numpy())
    assert pick(score_files(tmp_path / "f"), RETRIEVAL) == pick(best, RETRIEVAL)


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--probe", "A"), "unknown probe 'A' for KS20"),
     (("--mask_x", 6), "0 to 5 of 6 frames, found 6"),
     (("--length", 4), "no KS20 data of length 4"),
     (("--data", "nowhere"), "python -m data.simulate --dataset KS20"),
     (("--epochs", 0), "at least 1"), (("--device", "abacus"), "unknown device 'abacus'"),
     (("--device", "cuda:99"), "cuda:99 asked for"), (("--frobnicate",), "--frobnicate"),
     (("--resume",), "no checkpoint at"), (("--mode", "Eval"), "no checkpoint at"),
     (("--protocol", "released", "--batch_size", 200, "--no-balance"), "only 64 sequences"),
     (("--save_model", 0, "--save_features", "x.npz"), "--save_model 1"),
     (("--tracklets", "--labels"), "--tracklets or --labels, found both"),
     (("--link", "--tracklets"), "leave out --tracklets")])
def test_wrong_use(train, capsys, arguments, message):
    assert message in train.error(capsys, *arguments)


def test_no_clusters_at_once_is_an_error(train, capsys):
    message = train.error(capsys, "--eps", 1e-9, "--min_samples", 60)
    assert "nothing was trained: no clusters" in message
    assert "--eps" in message


def test_released_protocol_without_a_whole_batch_left(train, capsys, monkeypatch):
    def nine_in_a_cluster(v, *_, **__):
        return np.where(np.arange(len(v)) < 9, 0, -1)

    monkeypatch.setattr(clusters, "cluster", nine_in_a_cluster)
    assert "less than a batch" in train.error(capsys, "--protocol", "released")


def test_released_protocol_keeps_what_came_before_less_than_a_batch(train, monkeypatch):
    calls = []

    def fewer_each_time(v, *_, **__):
        calls.append(len(v))
        return np.where(np.arange(len(v)) < 64 - 16 * (len(calls) // 2), 0, -1)

    monkeypatch.setattr(clusters, "cluster", fewer_each_time)
    result = train("--protocol", "released")
    assert "less than a batch: " in result["stopped"] and result["best"]["epoch"] > 0


def test_resume_with_other_settings_is_refused(train, capsys):
    train("--epochs", 1)
    before = train.path("last.pt").read_bytes()
    message = train.error(capsys, "--resume", "--t", 0.5)
    assert "made with t = 0.08, this run has 0.5" in message
    message = train.error(capsys, "--resume", "--no-balance")
    assert "balance = True, this run has False" in message
    assert "seed" in train.error(capsys, "--resume", "--seed", 5)
    assert train.path("last.pt").read_bytes() == before


def test_checkpoint_of_other_data_is_refused(train, write_dataset, capsys):
    train("--epochs", 1)
    best = train.path("best.pt")
    write_dataset(train.data, "IAS", 6, 4, 4, np.random.RandomState(0))
    message = train.evaluate_error(capsys, best, "--probe", "A", dataset="IAS")
    assert "25 joints, these data have 20" in message
    write_dataset(train.data, "KS20", 4, 8, 8, np.random.RandomState(0))
    message = train.evaluate_error(capsys, best, "--length", 4)
    assert "trained with f = 6, found --length 4" in message


def test_truncated_checkpoint_is_refused(train, capsys):
    train("--epochs", 1)
    for name, arguments in (("best.pt", ("--mode", "Eval")), ("last.pt", ("--resume",))):
        whole = train.path(name).read_bytes()
        train.path(name).write_bytes(whole[:len(whole) // 2])
        message = train.error(capsys, *arguments)
        assert "truncated or damaged" in message
        assert name in message
