"""train_df.py as a user runs it, on feature files of a small random data set, and the network that
it trains.
"""

import numpy as np
import pytest
import torch
from commands import error_of, score_files
from training import RETRIEVAL, pick, same, without_time

from skeleton_reid import data
from skeleton_reid.engine import features
from skeleton_reid.engine.optimizer import TFAdam, train_batch
from skeleton_reid.models.recognition import DF

D = 9


@pytest.fixture
def train(training, tmp_path):
    """train(*arguments): run the script on KS20, on features in which 2 of 9 numbers tell 6 persons
    apart.
    """
    train = training("DF")
    rng = np.random.RandomState(1)
    centres = rng.normal(size=(6, 2))
    sets = data.load("KS20", "probe", 6, train.data, balance=False, shuffle=False)
    for part in ("train", "probe", "gallery"):
        labels = getattr(sets, part).labels
        frames = rng.normal(scale=[1.5] * 2 + [4] * (D - 2), size=(len(labels), 6, D))
        frames[..., :2] += 1.5 * centres[labels][:, None]
        np.savez(tmp_path / f"X.{part}.npz", features=frames.mean(axis=1), labels=labels,
                 frames=frames)
    train.extra = ("--source", tmp_path / "X.npz")
    return train


def test_results_files_and_evaluation(train, tmp_path, capsys):
    result = train("--epochs", 3, "--save_features", tmp_path / "top.npz")
    assert (result["kind"], result["method"], result["source"]) == ("retrieval", "X + DF", "X")
    table = capsys.readouterr().out
    for name in ("X + DF on KS20", "\nX ", "D-13", "untrained encoder", "X + DF best",
                 "X + DF last"):
        assert name in table
    assert {path.name for path in train.path().iterdir()} == {
        *("best.pt", "last.pt", "history.csv", "log.txt", "results.json"), "run.json", "run.lock"
    }
    best = result["best"]
    assert result["last"]["epoch"] == 3
    assert pick(train("--mode", "Eval"), best) == best
    for found in (train.evaluate(train.path("best.pt")), score_files(tmp_path / "top")):
        assert pick(found, RETRIEVAL) == pick(best, RETRIEVAL)


def test_training_helps(train):
    result = train("--epochs", 60, "--lr", 0.01)
    assert result["best"]["mAP"] > result["untrained"]["mAP"] + 0.05
    assert result["best"]["top1"] > result["baselines"]["X"]["top1"] + 0.05
    losses = [float(row["loss"]) for row in train.history() if row["loss"]]
    assert losses[-1] < losses[0] / 2


def test_a_step_is_adam_s_on_the_cross_entropy():
    rng = np.random.RandomState(0)
    frames, classes = (torch.from_numpy(rng.normal(size=(7, 4, 5)).astype(np.float32)),
                       torch.arange(7) % 3)
    model = DF(5, 3, 8, torch.Generator().manual_seed(0))
    weights = [p.detach().double().requires_grad_() for p in model.parameters()]  # hidden, output
    loss = train_batch(model, TFAdam(model.parameters(), 0.01), frames, classes).item()
    hidden = torch.clamp(frames.double() @ weights[0].T + weights[1], min=0)
    logits = (hidden @ weights[2].T + weights[3]).mean(dim=1)  # the mean of the frames' logits
    expected = -logits.log_softmax(dim=1)[torch.arange(7), classes].mean()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    for before, after in zip(weights, model.parameters(), strict=True):
        # The first step: m = 0.1 g, v = 0.001 g g, both corrected.
        step = 0.01 * before.grad / (before.grad.abs() + 1e-8 / np.sqrt(0.001))
        torch.testing.assert_close(after.detach().double(),
                                   before.detach() - step, atol=1e-5, rtol=1e-4)


def test_size_on_ks20_is_the_published_difference():
    assert sum(p.numel() for p in DF(1024, 20, 640, torch.Generator()).parameters()) == 668_820


def test_same_seed_same_numbers_and_resume(train):
    whole = train("--epochs", 4)
    assert without_time(train("--epochs", 4)) == without_time(whole)
    train("--epochs", 2)
    assert without_time(train("--epochs", 4, "--resume")) == without_time(whole)
    assert train("--epochs", 4, "--seed", 1)["last"] != whole["last"]


@pytest.mark.parametrize(("option", "value"), [("--H", 17), ("--lr", 0.01), ("--batch_size", 24),
                                               ("--no-balance", ())])
def test_every_setting_has_an_effect(train, option, value):
    train("--epochs", 1)
    before = train.weights()
    train("--epochs", 1, option, *((value,) if value else ()))
    assert not same(before, train.weights())


def test_patience_ends_training(train):
    result = train("--patience", 2)
    assert result["stopped"] == "no better top-1 for 2 epochs"
    assert result["epochs"] == result["best"]["epoch"] + 2


def test_released_protocol(train):
    result = train("--epochs", 1, "--protocol", "released", "--batch_size", 20)
    assert (result["probes"], result["gallery"]) == (40, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--source", "SM-SGE"), "python train_smsge.py --dataset KS20 --task retrieval"),
     (("--probe", "A"), "unknown probe 'A' for KS20"), (("--resume",), "no checkpoint at"),
     (("--mode", "Eval"), "no checkpoint at"), (("--epochs", 0), "at least 1"),
     (("--protocol", "released", "--batch_size", 60, "--no-balance"), "only 48 sequences")])
def test_wrong_use(train, capsys, arguments, message):
    assert message in train.error(capsys, *arguments)


def test_source_is_needed(capsys):
    assert "--source" in error_of(capsys, "train_df", "--dataset", "KS20")


def test_resume_on_other_features_is_refused(train, tmp_path, capsys):
    train("--epochs", 1)
    content = vars(features.read(tmp_path / "X.train.npz"))
    np.savez(tmp_path / "X.train.npz", **{**content, "frames": content["frames"] + 1})
    assert "source_digest" in train.error(capsys, "--resume")
