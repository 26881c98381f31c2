"""train_df.py as a user runs it, on feature files of a small random data set, and the network that
it trains.
"""

import numpy as np
import pytest
import torch
from commands import error_of

from skeleton_reid.engine import features
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.recognition import DF


@pytest.fixture
def train(training):
    """train(*arguments): run the script on KS20, on features in which 2 of 9 numbers tell 6 persons
    apart.
    """
    return training("DF")


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
    optimizer = TFAdam(model.parameters(), 0.01)
    loss = torch.nn.functional.cross_entropy(model(frames), classes)
    loss.backward()
    optimizer.step()
    hidden = torch.clamp(frames.double() @ weights[0].T + weights[1], min=0)
    logits = (hidden @ weights[2].T + weights[3]).mean(dim=1)  # the mean of the frames' logits
    expected = -logits.log_softmax(dim=1)[torch.arange(7), classes].mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    for before, after in zip(weights, model.parameters(), strict=True):
        # The first step: m = 0.1 g, v = 0.001 g g, both corrected.
        step = 0.01 * before.grad / (before.grad.abs() + 1e-8 / np.sqrt(0.001))
        torch.testing.assert_close(after.detach().double(),
                                   before.detach() - step, atol=1e-5, rtol=1e-4)


def test_size_on_ks20_is_the_published_difference():
    assert sum(p.numel() for p in DF(1024, 20, 640, torch.Generator()).parameters()) == 668_820


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
