"""train_simmc.py and evaluate.py as a user runs them, on small random data sets."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import error_of, run

import data
import train_simmc
from reid import checkpoint, features
from reid.errors import InputError
from reid.saved import encode_set, load_model

ROOT = Path(__file__).parent.parent
NOISE = 2.5  # hard enough that persons overlap, easy enough that there are clusters
SMALL = ("--H", 16, "--batch_size", 32, "--quiet")


@pytest.fixture
def ks20(tmp_path, write_dataset):
    """The arguments of a run on a data set of 8 persons, 8 windows of 6 frames each in every split."""
    write_dataset(tmp_path / "data", "KS20", 6, 8, 8, np.random.RandomState(0), noise=NOISE)
    return ["--dataset", "KS20", "--data", tmp_path / "data", "--out", tmp_path / "out"]


@pytest.fixture
def train(ks20, tmp_path):
    """train(*arguments): run the script and return its results."""

    def call(*arguments):
        assert run("train_simmc", *ks20, *SMALL, "--json", tmp_path / "result.json", *arguments) == 0
        return json.loads((tmp_path / "result.json").read_text())

    return call


def folder(tmp_path, *parts):
    return tmp_path.joinpath("out", "KS20", "probe", *parts)


def without_time(result):
    return {name: value for name, value in result.items() if name != "seconds"}


def test_results_and_files(train, tmp_path, capsys):
    result = train("--epochs", 3)
    assert result["kind"] == "retrieval"
    assert (result["method"], result["dataset"], result["probe"], result["length"]) == (
        "SimMC",
        "KS20",
        "probe",
        6,
    )
    assert (result["protocol"], result["seed"], result["probes"], result["gallery"]) == ("full", 0, 64, 64)
    for row in ("best", "last", "untrained"):
        assert all(0 <= result[row][name] <= 1 for name in ("top1", "top5", "top10", "mAP"))
    assert 1 <= result["best"]["epoch"] <= 3
    assert result["last"]["epoch"] == 3
    assert result["top1"] == result["best"]["top1"] >= result["last"]["top1"]
    table = capsys.readouterr().out
    for name in ("mean-pose", "untrained encoder", "D-13", "D-16", "SimMC best", "SimMC last"):
        assert name in table
    with folder(tmp_path, "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[0]["top1"]) == result["untrained"]["top1"]
    for name in ("clusters_1", "clusters_2", "outliers", "MPC", "MIC", "MI_1", "AMI_2"):
        assert np.isfinite(float(rows[1][name]))
    assert "epoch   3" in folder(tmp_path, "log.txt").read_text()


def test_training_lowers_the_losses(train, tmp_path):
    train("--epochs", 6, "--lr", 0.003)
    with folder(tmp_path, "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("MPC", "MIC"):
        assert float(rows[5][name]) < float(rows[0][name]) - 0.1


def test_same_seed_same_numbers(train):
    first = train("--epochs", 2)
    assert without_time(train("--epochs", 2)) == without_time(first)
    assert train("--epochs", 2, "--seed", 1)["last"] != first["last"]


def test_resume_gives_the_same_numbers(train, tmp_path):
    whole = train("--epochs", 5)
    history = folder(tmp_path, "history.csv").read_text().splitlines()
    train("--epochs", 2)
    assert without_time(train("--epochs", 5, "--resume")) == without_time(whole)
    resumed = folder(tmp_path, "history.csv").read_text().splitlines()

    def figures(lines):
        columns = [i for i, name in enumerate(lines[0].split(",")) if not name.startswith("s_")]
        return [[line.split(",")[i] for i in columns] for line in lines]

    assert figures(resumed) == figures(history)


def test_eval_and_evaluate_agree_with_the_best(train, ks20, tmp_path):
    best = train("--epochs", 3)["best"]
    evaluated = train("--mode", "Eval")
    assert {name: evaluated[name] for name in best} == best
    where = ["--dataset", "KS20", "--data", tmp_path / "data", "--json", tmp_path / "e.json", "--quiet"]
    assert run("evaluate", "--checkpoint", folder(tmp_path, "best.pt"), *where) == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert {name: found[name] for name in best} == best
    assert found["kind"] == "retrieval"


def test_early_stop(train):
    result = train("--patience", 2, "--lr", 1e-12)  # nothing changes: epoch 1 is the best
    assert result["best"]["epoch"] == 1
    assert result["last"]["epoch"] == 3
    assert "no better top-1 for 2 epochs" in result["stopped"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--H", 8), ("--D", 2), ("--mask_x", 1), ("--mask_x_2", 3), ("--mask_lambda", 0.9), ("--lambda", 0.1),
        ("--t", 0.3), ("--lr", 0.01), ("--eps", 0.6), ("--min_samples", 25), ("--batch_size", 16),
        ("--no-balance", None),
    ],
)  # fmt: skip
def test_every_setting_has_an_effect(train, tmp_path, option, value):
    train("--epochs", 2)
    history = folder(tmp_path, "history.csv").read_text()
    train("--epochs", 2, *([option] if value is None else [option, value]))
    with_option = folder(tmp_path, "history.csv").read_text()
    columns = ("top1", "mAP", "MPC", "MIC", "clusters_1")
    rows = [
        [[row[c] for c in columns] for row in csv.DictReader(text.splitlines())]
        for text in (history, with_option)
    ]
    assert rows[0] != rows[1]


def test_released_protocol_drops_incomplete_batches(train, tmp_path, write_dataset):
    write_dataset(tmp_path / "data", "KS20", 6, 8, 9, np.random.RandomState(0), noise=NOISE)  # 72 windows
    result = train("--epochs", 1, "--protocol", "released")
    assert (result["probes"], result["gallery"]) == (64, 64)
    result = train("--epochs", 1)
    assert (result["probes"], result["gallery"]) == (72, 72)


def test_casia_b_same_set_excludes_self(tmp_path, write_dataset):
    write_dataset(tmp_path / "data", "CASIA_B", 20, 6, 6, np.random.RandomState(1), noise=NOISE)
    arguments = ["--dataset", "CASIA_B", "--probe_type", "nm.nm", "--length", 20, "--data", tmp_path / "data"]
    code = run(
        "train_simmc",
        *arguments,
        "--out",
        tmp_path / "out",
        *SMALL,
        "--epochs",
        1,
        "--json",
        tmp_path / "r.json",
    )
    assert code == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["top1"] > 0  # no self match: a probe's nearest neighbour is another sequence
    assert (tmp_path / "out" / "CASIA_B" / "nm.nm_best.pt").is_file()


def test_save_flag_writes_arrays(train, tmp_path):
    train("--epochs", 2, "--save_flag", 1)
    tightness = np.load(folder(tmp_path, "arrays", "mACT.npy"))
    assert tightness.shape == (3,)
    assert (tightness[:2] > 1).all()  # samples are nearer to their own centre
    assert np.load(folder(tmp_path, "arrays", "mRCL.npy")).shape == (3,)


def test_save_model_0_keeps_no_model(train, tmp_path):
    train("--epochs", 1, "--save_model", 0)
    assert not folder(tmp_path, "best.pt").exists()


def test_model_size_is_printed(ks20, capsys):
    assert run("train_simmc", *ks20, "--epochs", 1, "--batch_size", 32, "--model_size", 1) == 0
    # 75 x 256, 256 x 256, 256 x 256 and three biases; 2 operations a weight of the encoder for each of 6 frames.
    assert f"151,040 parameters, {6 * 2 * (75 * 256 + 256 * 256):,} FLOPs" in capsys.readouterr().out


def test_feature_files(train, ks20, tmp_path):
    best = train("--epochs", 2, "--save_features", tmp_path / "f.npz")["best"]
    parts = {part: features.read(tmp_path / f"f.{part}.npz") for part in ("train", "probe", "gallery")}
    stored = data.load("KS20", "probe", 6, tmp_path / "data", balance=False, shuffle=False)
    for part, found in parts.items():
        sequences = getattr(stored, part)
        np.testing.assert_array_equal(found.labels, sequences.labels)
        assert found.features.shape == (len(sequences), 16)
        np.testing.assert_allclose(found.frames.mean(axis=1), found.features, atol=1e-5)
    model, _ = load_model(folder(tmp_path, "best.pt"), 25, 6, torch.device("cpu"))
    np.testing.assert_array_equal(parts["probe"].features, encode_set(model, stored.probe.skeletons).numpy())
    files = ["--probe", tmp_path / "f.probe.npz", "--gallery", tmp_path / "f.gallery.npz"]
    assert run("evaluate", *files, "--json", tmp_path / "e.json", "--quiet") == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert all(found[name] == best[name] for name in ("top1", "top5", "top10", "mAP"))


@pytest.mark.parametrize("name", ["D-13", "D-16", "mean-pose", "untrained"])
def test_baselines(train, ks20, tmp_path, name):
    where = ["--dataset", "KS20", "--data", tmp_path / "data", "--json", tmp_path / "e.json", "--quiet"]
    assert run("evaluate", "--features", name, *where) == 0
    found = json.loads((tmp_path / "e.json").read_text())
    if name == "untrained":
        expected = train("--H", 256, "--epochs", 1)["untrained"]
    else:
        expected = train("--epochs", 1)["baselines"][name]
    assert all(found[key] == expected[key] for key in ("top1", "top5", "top10", "mAP"))


# Bad input


def test_no_clusters_at_once_is_an_error(ks20, capsys):
    message = error_of(capsys, "train_simmc", *ks20, *SMALL, "--eps", 1e-9, "--min_samples", 60)
    assert "nothing was trained: no clusters" in message
    assert "--eps" in message


def test_released_protocol_without_a_whole_batch_left(ks20, capsys, monkeypatch):
    monkeypatch.setattr(
        train_simmc, "cluster", lambda v, eps, min_samples: np.where(np.arange(len(v)) < 9, 0, -1)
    )
    message = error_of(capsys, "train_simmc", *ks20, *SMALL, "--protocol", "released")
    assert "less than a batch" in message


def test_no_clusters_later_stops_with_the_reason(train, monkeypatch):
    calls = []

    def clusters_for_two_epochs(v, eps, min_samples):
        calls.append(len(v))
        return np.arange(len(v)) % 3 if len(calls) <= 4 else np.full(len(v), -1)

    monkeypatch.setattr(train_simmc, "cluster", clusters_for_two_epochs)
    result = train("--epochs", 9)
    assert "no clusters" in result["stopped"]
    assert result["last"]["epoch"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--probe", "A"), "unknown probe 'A' for KS20"),
        (("--mask_x", 6), "0 to 5 of 6 frames, found 6"),
        (("--length", 4), "no KS20 data of length 4"),
        (("--data", "nowhere"), "python -m data.simulate --dataset KS20"),
        (("--epochs", 0), "at least 1"),
        (("--device", "abacus"), "unknown device 'abacus'"),
        (("--device", "cuda:99"), "cuda:99 asked for"),
        (("--frobnicate",), "--frobnicate"),
        (("--resume",), "no checkpoint at"),
        (("--mode", "Eval"), "no checkpoint at"),
        (("--protocol", "released", "--batch_size", 200, "--no-balance"), "only 64 sequences"),
        (("--save_model", 0, "--save_features", "x.npz"), "--save_model 1"),
    ],
)
def test_wrong_use(ks20, capsys, arguments, message):
    assert message in error_of(capsys, "train_simmc", *ks20, *SMALL, *arguments)


def test_resume_with_other_settings_is_refused(train, ks20, tmp_path, capsys):
    train("--epochs", 1)
    before = folder(tmp_path, "last.pt").read_bytes()
    message = error_of(capsys, "train_simmc", *ks20, *SMALL, "--resume", "--t", 0.5)
    assert "made with t = 0.08, but this run has t = 0.5" in message
    message = error_of(capsys, "train_simmc", *ks20, *SMALL, "--resume", "--no-balance")
    assert "balance = True, but this run has balance = False" in message
    message = error_of(capsys, "train_simmc", *ks20, *SMALL, "--resume", "--seed", 5)
    assert "seed" in message
    assert folder(tmp_path, "last.pt").read_bytes() == before


def test_checkpoint_of_other_data_is_refused(train, tmp_path, write_dataset, capsys):
    train("--epochs", 1)
    best = folder(tmp_path, "best.pt")
    write_dataset(tmp_path / "data", "IAS", 6, 4, 4, np.random.RandomState(0))
    where = ["--checkpoint", best, "--data", tmp_path / "data"]
    message = error_of(capsys, "evaluate", *where, "--dataset", "IAS", "--probe", "A")
    assert "25 joints, these data have 20" in message
    write_dataset(tmp_path / "data", "KS20", 4, 8, 8, np.random.RandomState(0))
    message = error_of(capsys, "evaluate", *where, "--dataset", "KS20", "--length", 4)
    assert "trained with f = 6, found --length 4" in message


def test_truncated_checkpoint_is_refused(train, ks20, tmp_path, capsys):
    train("--epochs", 1)
    for name, arguments in (("best.pt", ("--mode", "Eval")), ("last.pt", ("--resume",))):
        whole = folder(tmp_path, name).read_bytes()
        folder(tmp_path, name).write_bytes(whole[: len(whole) // 2])
        message = error_of(capsys, "train_simmc", *ks20, *SMALL, *arguments)
        assert "truncated or damaged" in message
        assert name in message


class Mischief:
    """Pickles to a call that would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_checkpoint_that_holds_code_is_refused(ks20, tmp_path, capsys):
    trace = tmp_path / "trace"
    path = folder(tmp_path, "best.pt")
    path.parent.mkdir(parents=True)
    torch.save({"format": checkpoint.FORMAT, "model": Mischief(trace)}, path)
    assert "not a readable checkpoint" in error_of(capsys, "train_simmc", *ks20, "--mode", "Eval", "--quiet")
    assert not trace.exists()


def test_feature_file_that_holds_pickles_is_refused(tmp_path, capsys):
    path = tmp_path / "f.npz"
    np.savez(path, features=np.array([Mischief(tmp_path / "trace")], dtype=object), labels=np.zeros(1))
    assert "not a readable feature file" in error_of(capsys, "evaluate", "--probe", path, "--gallery", path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected one of --checkpoint, --features, --recognise, --gallery, found none"),
        (("--features", "D-13", "--gallery", "x"), "found --features and --gallery"),
        (("--gallery", "x.npz"), "needs --probe"),
        (("--gallery", "x.npz", "--probe", "y.npz"), "no feature file at y.npz"),
        (("--features", "D-13"), "expected --dataset"),
        (("--features", "D-13", "--dataset", "KS20", "--exclude_self"), "goes with feature files"),
    ],
)
def test_wrong_use_of_evaluate(capsys, arguments, message):
    assert message in error_of(capsys, "evaluate", *arguments)


# Crashes


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "best.pt"
    checkpoint.save(path, {"method": "SimMC", "epoch": 1})
    before = path.read_bytes()

    def full(content, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"No space left.*the old file is kept"):
        checkpoint.save(path, {"method": "SimMC", "epoch": 2})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def test_an_interruption_while_saving_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"method": "SimMC", "epoch": 1})

    def interrupted(content, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"method": "SimMC", "epoch": 2})
    assert checkpoint.load(path)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_ctrl_c_ends_with_130_and_resumes(train, ks20, tmp_path):
    """A real process, interrupted in the middle, then resumed: the numbers of an uninterrupted run."""
    whole = train("--epochs", 6)
    folder(tmp_path, "last.pt").unlink()
    command = [sys.executable, ROOT / "train_simmc.py", *ks20, *SMALL, "--epochs", 100000]
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while time.time() < deadline:
        if (
            folder(tmp_path, "last.pt").exists()
            and checkpoint.load(folder(tmp_path, "last.pt"))["epoch"] >= 2
        ):
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "--resume" in error
    saved = checkpoint.load(folder(tmp_path, "last.pt"))["epoch"]
    if saved > 6:
        pytest.skip("the process went past the epochs to compare before it could be interrupted")
    assert train("--epochs", 6, "--resume")["last"] == whole["last"]
