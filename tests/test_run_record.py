"""What a run tells of itself besides its results: run.json and TensorBoard's events; and that a run
that is refused tells nothing.
"""

import json
import platform

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from training import SCRIPTS

RUNS = {
    "SimMC": ("", ("--epochs", 3)), "AGE": ("recogniser", ("--epochs", 2)),
    "SM-SGE": ("encoder", ("--epochs", 2)), "statistics": ("", ("--epochs", 3)),
}  # fmt: skip


@pytest.mark.parametrize("method", RUNS)
def test_tensorboard_has_every_metric_of_the_history(method, training):
    phase, words = RUNS[method]
    train = training(method)
    train(*words, "--tensorboard")
    events = EventAccumulator(str(train.path(phase, "tensorboard")),
                              {"scalars": 0, "histograms": 0}).Reload()
    curves = {
        tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]
    }
    for row in train.history(phase):
        for name, text in row.items():
            if name == "epoch" or text == "":
                continue
            own = [curve for tag, curve in curves.items() if tag.partition("/")[2] == name]
            assert len(own) == 1, name
            assert own[0][int(row["epoch"])] == pytest.approx(float(text), rel=1e-6, nan_ok=True)
    assert any(tag.startswith("seconds/") for tag in curves)
    rates = [curve for tag, curve in curves.items() if tag.startswith("rates/")]
    assert rates and all(0 < rate <= 0.01 for curve in rates for rate in curve.values())
    if method == "SimMC":
        for row in train.history():
            for number in "12" if row["clusters_1"] else "":
                histogram = next(e.histogram_value
                                 for e in events.Histograms(f"cluster_sizes/{number}")
                                 if e.step == int(row["epoch"]))
                assert histogram.num == int(row[f"clusters_{number}"])


def test_a_resumed_run_goes_on_with_its_events(training, monkeypatch):
    closed, close = [], SummaryWriter.close
    monkeypatch.setattr(SummaryWriter, "close", lambda x: (closed.append(x), close(x)))
    train = training("SimMC")
    train("--epochs", 2, "--tensorboard")
    assert len(closed) == 1
    train("--epochs", 4, "--tensorboard", "--resume")
    events = EventAccumulator(str(train.path("tensorboard"))).Reload()
    assert [e.step for e in events.Scalars("metrics/top1")] == [0, 1, 2, 3, 4]
    train("--epochs", 1, "--tensorboard")  # anew
    events = EventAccumulator(str(train.path("tensorboard"))).Reload()
    assert [e.step for e in events.Scalars("metrics/top1")] == [0, 1]


def test_missing_tensorboard_is_named_before_any_work(training, capsys, monkeypatch):
    train = training("SimMC")
    monkeypatch.setattr("skeleton_reid.engine.parsing.find_spec", lambda name: None)
    assert "pip install tensorboard" in train.error(capsys, "--tensorboard")
    assert not train.out.exists()


def test_run_json_says_how_to_make_the_run_again(training):
    train = training("SimMC")
    train("--epochs", 1, "--seed", 3)
    record = json.loads(train.path("run.json").read_text())
    assert record["command"].startswith("train_simmc.py --dataset KS20 ")
    assert "--epochs 1 --seed 3" in record["command"]
    assert (record["method"], record["seed"], record["device"]) == ("SimMC", 3, "cpu")
    assert record["settings"]["H"] == 16 and record["settings"]["t"] == 0.08
    versions = platform.python_version(), torch.__version__, np.__version__
    assert (record["python"], record["torch"], record["numpy"]) == versions
    revision = record["revision"]  # None outside a checkout
    assert revision is None or len(revision.removesuffix("-dirty")) == 40


@pytest.mark.parametrize(("method", "words"), [
    *((method, ("--resume",)) for method in SCRIPTS if method != "DF"),
    ("SM-SGE", ("--pre_train", 0))
])
def test_a_run_that_is_refused_leaves_nothing(method, words, training, capsys):
    train = training(method)
    assert "no checkpoint at" in train.error(capsys, *words)
    assert not train.out.exists()


def test_the_time_left_is_until_nothing_better_ends_the_run(monkeypatch):
    from skeleton_reid.engine.epochs import EarlyStopping, Timer

    stopping = EarlyStopping(10)
    with Timer(None, 0, False, torch.device("cpu"), stopping) as timer:
        for epoch, top1 in enumerate((0.1, 0.5, 0.4, 0.3)):
            stopping.update(epoch, {"top1": top1})
            timer.end_epoch(epoch)
        assert (timer.bar.total, stopping.waited) == (3 + 10 - 2, 2)
    with Timer(5, 0, False, torch.device("cpu"), stopping) as timer:
        timer.end_epoch(1)
        assert timer.bar.total == 5
