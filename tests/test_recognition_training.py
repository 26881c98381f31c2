"""Training of the recognition network as both systems use it: batches, rule for best and last,
early stop.
"""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.engine import recognition
from skeleton_reid.engine.methods.age import AGESettings
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.recognition import BestNetworks, RecognitionSet, SelectionRule, train
from skeleton_reid.engine.run import Run
from skeleton_reid.models.recognition import Recogniser


class Encoder(torch.nn.Module):
    """A frozen model with weights to save."""
    def __init__(self):
        super().__init__()
        self.arguments = {}
        self.weight = torch.nn.Parameter(torch.ones(3))


class Scripted:
    """Stands for a network whose Rank-1 on sequences of class 0, and confidence, are given for each
    look.
    """
    def __init__(self, correct, confidence):
        self.looks = iter(zip(correct, confidence, strict=True))

    def scores(self, rows):
        correct, confidence = next(self.looks)
        scores = torch.zeros(len(rows), 2)
        scores[:correct, 0] = scores[correct:, 1] = confidence
        return scores

    def state_dict(self):
        return {"weight": torch.zeros(1)}


def scripted(correct, confidence, N=10, patience=None, **rule):
    """Look at N sequences once an epoch until the patience ends. Returns the epochs and the best
    epoch.
    """
    sets = {"A": RecognitionSet(torch.zeros(N, 1, 1), torch.zeros(N, dtype=torch.int64))}
    tests = BestNetworks(sets, SelectionRule(lr=1, **rule), patience)
    network = Scripted(correct, confidence)
    for epoch in range(1, len(correct) + 1):
        tests.test(network, epoch, epoch)
        tests.end_epoch()
        if tests.exhausted:
            break
    return epoch, tests.best["A"]["metrics"]["epoch"] if tests.best else None


@pytest.fixture
def start(tmp_path):
    """start(epochs, batch_size, ...): a run to train in."""
    def call(epochs, batch_size, patience=None, **options):
        settings = AGESettings(recognition_epochs=epochs, batch_size=batch_size, patience=patience)
        options = TrainingOptions(datasets.get("IAS"), "A", 6, tmp_path, task="recognition",
                                  quiet=True, settings=settings, **options)
        return Run("AGE", options, tmp_path).phase("ap")

    return call


def problem(R=3, N=40, persons=4):
    """Separable feature rows of some persons, for training and for two tests."""
    rng = np.random.RandomState(0)
    centres = rng.normal(size=(persons, 1, 5))

    def draw():
        labels = np.arange(N) % persons
        rows = centres[labels] + rng.normal(scale=0.3, size=(N, R, 5))
        return RecognitionSet(torch.tensor(rows, dtype=torch.float32), torch.from_numpy(labels))

    return draw(), {"A": draw(), "B": draw()}


def recogniser(combine="sum"):
    return Recogniser(5, 4, 8, combine, torch.Generator().manual_seed(0))


def test_scores_combine_the_rows():
    rows = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
    logits = recogniser().network(rows)
    for combine, expected in (("sum", logits.sum(1)), ("mean", logits.mean(1)), ("last",
                                                                                 logits[:, 2])):
        torch.testing.assert_close(recogniser(combine).scores(rows), expected)


@pytest.mark.parametrize("whole_batches", [False, True])
def test_training_is_adam_on_the_combined_score(start, whole_batches):
    """Against the loop written out: fixed batches in the given order, the loss on the sum of the
    logits.
    """
    training, tests = problem()
    order = np.random.RandomState(1).permutation(40)[:37]
    network, expected = recogniser(), recogniser()
    run = start(3, 10, protocol="released" if whole_batches else "full")
    found = train(run, Encoder(), network, np.arange(4), training, order, tests,
                  SelectionRule(0.01))
    optimizer = TFAdam(expected.parameters(), 0.01)
    for _ in range(3):
        for first in range(0, 30 if whole_batches else 37, 10):
            batch = order[first:first + 10]
            optimizer.zero_grad()
            scores = expected.network(training.rows[batch]).sum(dim=1)
            cross_entropy(scores, training.labels[batch]).backward()
            optimizer.step()
    for ours, theirs in zip(network.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert found["A"]["last"]["step"] == (9 if whole_batches else 12)
    assert found["A"]["best"]["rank1"] >= found["A"]["last"]["rank1"]


def test_resume_after_an_early_stop_and_with_another_encoder(start):
    training, tests = problem()
    order = np.arange(40)

    def call(epochs, resume=False, weight=1.0):
        encoder = Encoder()
        encoder.weight.data.fill_(weight)
        run = start(epochs, 10, patience=4, resume=resume)
        return train(run, encoder, recogniser(), np.arange(4), training, order, tests,
                     SelectionRule(0.1))

    whole = call(6)
    call(2)
    assert call(6, resume=True) == whole
    assert call(6, resume=True) == whole  # nothing is left to do
    call(2, weight=2.0)
    assert call(6, resume=True) == whole  # the other encoder's work is not gone on with


def test_patience_counts_from_the_last_look_that_was_as_good():
    """As in the released SM-SGE."""
    worse = [2.0 + 0.1 * n for n in range(20)]
    correct = [3, 5, 5, 5] + [4] * 16
    assert scripted(correct, worse, patience=6) == (4 + 6, 2)
    # A loss as low as the lowest counts too.
    assert scripted([5] + [4] * 19, [3.0, 3.0, 2.0, 1.9] + [3.5] * 16, patience=6)[0] == 4 + 6
    assert scripted([5] + [4] * 19, [3.0] * 20, patience=None)[0] == 20


def test_early_stop_of_a_released_run(golden, monkeypatch):
    """The released SM-SGE on simulated KS20: its test metrics by epoch, and where a patience of 30
    ended it.
    """
    with np.load(golden("smsge_curve.npz")) as file:
        correct, losses = file["correct"].tolist(), iter(file["loss"])  # of 192 sequences
    monkeypatch.setattr(recognition, "cross_entropy", lambda *_: next(losses))
    assert scripted(correct, [1.0] * 238, N=192, patience=30) == (238, 206)


def test_ties():
    correct, confidence = [3, 5, 5, 4], [1.0, 1.0, 2.0, 1.0]
    assert scripted(correct, confidence)[1] == 2
    assert scripted(correct, confidence, ties=True)[1] == 3


def test_best_from():
    correct, confidence = [9, 9, 5, 6, 5], [1.0] * 5
    assert scripted(correct, confidence, best_from=3)[1] == 4
    assert scripted(correct, confidence, best_from=6)[1] is None


def test_best_from_beyond_the_end_keeps_the_last(start):
    training, tests = problem()
    rule = SelectionRule(0.01, best_from=9)
    found = train(start(2, 10), Encoder(), recogniser(), np.arange(4), training, np.arange(40),
                  tests, rule)
    assert found["A"]["best"] == found["A"]["last"]


def test_no_whole_batch(start):
    training, tests = problem()
    run = start(1, 64, protocol="released")
    with pytest.raises(InputError, match="whole batch of 64 rows, found 40"):
        train(run, Encoder(), recogniser(), np.arange(4), training, np.arange(40), tests,
              SelectionRule(0.01))
