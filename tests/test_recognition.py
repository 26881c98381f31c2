"""The recognition network and its metrics, against the released code's numbers and against the
definitions.
"""

import json

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.recognition import RecognitionNetwork
from skeleton_reid.reid.recognition import evaluate
from tests.reference import recognition as reference


@pytest.fixture(scope="module")
def arrays(golden):
    """arrays(name): the arrays of a golden file."""
    def read(name):
        with np.load(golden(name)) as file:
            return dict(file)

    return read


@pytest.mark.parametrize("case", ["a", "b", "ties"])
def test_golden_nauc(case, arrays):
    golden = {
        name.partition("/")[2]: value for name, value in arrays("nauc.npz").items()
        if name.startswith(case)
    }
    used = int(golden["n_used"])  # the released code leaves out an incomplete last batch
    everything = evaluate(golden["scores"], golden["labels"])
    whole_batches = evaluate(golden["scores"][:used], golden["labels"][:used])
    assert everything["nAUC_roc"] == pytest.approx(float(golden["nAUC_all"]), abs=1e-9)
    assert whole_batches["nAUC_roc"] == pytest.approx(float(golden["nAUC_used"]), abs=1e-9)
    if "rank" in golden:  # stored with four decimals
        np.testing.assert_allclose(list(whole_batches["rank"].values()), golden["rank"],
                                   atol=5.1e-5)
        assert whole_batches["rank1"] == pytest.approx(float(golden["acc"]), abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", [(1, 2), (9, 4), (12, 7)])
def test_figures_against_definitions(shape, ties):
    rng = np.random.RandomState(sum(shape))
    scores = rng.normal(size=shape)
    if ties:
        scores = np.round(scores)
    labels = rng.randint(shape[1], size=shape[0])
    ours, slow = evaluate(scores, labels), reference.evaluate(scores, labels)
    assert list(ours["rank"]) == [str(n + 1) for n in range(shape[1])]
    np.testing.assert_allclose(list(ours["rank"].values()), slow["rank"], atol=1e-12)
    for name in ("nAUC_roc", "nAUC_cmc", "loss"):
        assert ours[name] == pytest.approx(slow[name], abs=1e-12), name
    assert ours["confusion"] == slow["confusion"]
    assert ours["rank1"] == ours["rank"]["1"] == np.trace(ours["confusion"]) / shape[0]
    json.dumps(ours)


def test_figures_of_tensors_and_large_scores():
    scores = np.array([[1e4, 0.0, -1e4], [5.0, 5.0, 5.0]], dtype=np.float32)
    from_arrays = evaluate(scores, np.array([0, 2]))
    assert from_arrays == evaluate(torch.tensor(scores, requires_grad=True), torch.tensor([0, 2]))
    assert from_arrays["loss"] == pytest.approx(np.log(3) / 2)
    assert from_arrays["rank"] == {"1": 0.5, "2": 0.5, "3": 1.0}


@pytest.mark.parametrize(("scores", "labels", "message"),
                         [(np.zeros((2, 3)), [0, 3], r"labels \[3\] are not among the 3 persons"),
                          (np.zeros((2, 3)), [-1, 0], "labels"),
                          (np.zeros((2, 3)), [0.0, 1.0], "whole-number"),
                          (np.zeros((2, 3)), [0], "2 whole-number labels"),
                          (np.zeros((0, 3)), np.zeros(0, dtype=int), "1 x 2 scores or more"),
                          (np.zeros((2, 1)), [0, 0], "1 x 2 scores or more"),
                          (np.zeros(3), [0, 0, 0], "1 x 2 scores or more"),
                          (np.array([[0.0, np.nan]]), [0], "NaN")])
def test_wrong_scores(scores, labels, message):
    with pytest.raises(InputError, match=message):
        evaluate(scores, labels)


def test_released_ias_recogniser(arrays):
    """Inputs and logits of the network in a released checkpoint; the logits reach 8,000."""
    golden = arrays("rn_ias.npz")
    variables = {"W1": golden["W1"], "b1": golden["b1"], "W": golden["W"], "Variable": golden["b"]}
    for name in ("W/Adam3", "learning_rate",
                 "new_train/beta1_power"):  # found beside them, and ignored
        variables[name] = np.zeros(1)
    network = RecognitionNetwork.from_published(variables)
    logits = network(torch.tensor(golden["inputs"])).detach().numpy()
    np.testing.assert_allclose(logits, golden["logits"], rtol=1e-5,
                               atol=1e-6 * np.abs(golden["logits"]).max())
    assert network.arguments == {"inputs": 768, "persons": 11, "hidden": 256}
    also = RecognitionNetwork.from_published(golden)  # the bias named b
    assert torch.equal(also.output.bias, network.output.bias)


@pytest.mark.parametrize("manner", ["ap", "sc"])
def test_golden_recognition(manner, arrays):
    """Logits, metrics, gradients and five Adam steps (without clipping) of the released recognition
    training.
    """
    golden = arrays("rn_h32.npz")
    prefix = f"rn_{manner}/"
    network = RecognitionNetwork.from_published(
        {n: golden[f"{prefix}w/{n}"] for n in ("W1", "b1", "W", "b")})
    features, labels = (torch.tensor(golden[f"age_{manner}"]),
                        torch.tensor(golden[f"{prefix}labels"]).long())
    logits = network(features)
    np.testing.assert_allclose(logits.detach(), golden[f"{prefix}logits"], rtol=1e-5, atol=1e-4)
    metrics = evaluate(logits, labels)
    assert metrics["loss"] == pytest.approx(float(golden[f"{prefix}cross_entropy"]), rel=1e-5)
    assert metrics["rank1"] == pytest.approx(float(golden[f"{prefix}accuracy"]), abs=1e-6)
    if manner == "ap":
        mean = logits.unflatten(0, (-1, 6)).mean(1)
        np.testing.assert_allclose(mean.detach(), golden["rn_ap/sequence_mean_logits"], rtol=1e-5,
                                   atol=1e-4)
        np.testing.assert_array_equal(mean.argmax(1), golden["rn_ap/sequence_pred"])
    optimizer = TFAdam(network.parameters(), lr=0.0005)
    for step, scale in enumerate((1, 60, 0.5, 20, 1)):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(features * scale), labels)
        loss.backward()
        expected = golden[f"{prefix}step_losses_scales_1_60_.5_20_1"][step]
        assert loss.item() == pytest.approx(float(expected), rel=1e-4)
        if step == 0:
            norms = [p.grad.norm().item() for p in network.parameters()]
            np.testing.assert_allclose(norms, golden[f"{prefix}grad_norms"], rtol=2e-4)
        optimizer.step()
    for name, parameter in zip(("W1", "b1", "W", "b"), network.parameters(), strict=True):
        if f"{prefix}after5/{name}" in golden:
            np.testing.assert_allclose(parameter.detach().t(), golden[f"{prefix}after5/{name}"],
                                       atol=1e-5)


@pytest.mark.parametrize("manner", ["ap", "sc"])
@pytest.mark.parametrize("batch", [32, 128])
def test_golden_figures_of_whole_batches(manner, batch, arrays):
    """What the released evaluation printed: rows of incomplete batches left out, unless there is
    only one.
    """
    golden = arrays("rn_h32.npz")
    logits, labels = golden[f"rn_{manner}/eval/logits"], golden[f"rn_{manner}/eval/labels"]
    used = len(logits) if len(logits) < batch else len(logits) // batch * batch
    if manner == "ap":
        used, labels = used // 6, labels[::6]
        logits = logits.reshape(-1, 6, 11).mean(1)
    metrics = evaluate(logits[:used], labels[:used])
    assert metrics["rank1"] == pytest.approx(float(golden[f"rn_{manner}/eval/rank1_batch{batch}"]),
                                             abs=1e-6)
    assert metrics["nAUC_roc"] == pytest.approx(
        float(golden[f"rn_{manner}/eval/nAUC_batch{batch}"]), abs=1e-9)


def test_published_smsge_names():
    """The classifier in use is Variable_4 to _7 in a finished checkpoint, Variable to _3 where it
    is the only one.
    """
    rng = np.random.RandomState(0)
    shapes = [(6, 5), (5,), (5, 4), (4,)] * 2
    names = [f"Recognition/Recognition/Variable{'' if n == 0 else f'_{n}'}" for n in range(8)]
    variables = {name: rng.normal(size=shape) for name, shape in zip(names, shapes, strict=True)}
    for start in (4, 0):
        network = RecognitionNetwork.from_published(variables)
        W1, b1, W2, b2 = (variables[name] for name in names[start:start + 4])
        x = rng.normal(size=(2, 3, 6))
        with torch.no_grad():
            logits = network(torch.tensor(x, dtype=torch.float32))  # any axes in front
        np.testing.assert_allclose(logits, np.maximum(x @ W1 + b1, 0) @ W2 + b2, atol=1e-5)
        variables = {name: variables[name] for name in names[:4]}


def test_wrong_published_weights():
    good = {
        "W1": np.zeros((6, 5)), "b1": np.zeros(5), "W": np.zeros((5, 4)), "Variable": np.zeros(4)
    }
    with pytest.raises(InputError, match="no recognition network"):
        RecognitionNetwork.from_published({"W1": good["W1"]})
    for name, shape in (("W1", (6,)), ("b1", (4,)), ("W", (6, 4)), ("Variable", (5,))):
        with pytest.raises(InputError, match="expected shape"):
            RecognitionNetwork.from_published({**good, name: np.zeros(shape)})


def test_fresh_network():
    network = RecognitionNetwork(60, 11, 256, generator=torch.Generator().manual_seed(1))
    for layer in (network.hidden, network.output):
        assert abs(layer.weight.std() - 1) < 0.05 and abs(layer.weight.mean()) < 0.05
        assert layer.bias.abs().max() == 0
    x = torch.randn(8, 60, generator=torch.Generator().manual_seed(2))
    logits = network(x)
    assert logits.shape == (8, 11) and logits.isfinite().all()
    torch.nn.functional.cross_entropy(logits, torch.arange(8)).backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())
    again = RecognitionNetwork(**network.arguments)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x), logits)
