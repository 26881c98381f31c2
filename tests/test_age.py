"""AGE against the released code's numbers (tests/golden/age_*), and against
tests/reference/age.py.
"""

import json

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models import age as paper
from skeleton_reid.models.age import AGE, AXES, CLIP, concatenated, locality_mask, stops
from skeleton_reid.tensorflow_v1 import published
from tests.reference.age import published_gradients, weights_of

LR = 0.0005


@pytest.fixture(scope="module")
def h32(golden):
    with np.load(golden("age_h32.npz")) as file:
        return dict(file)


@pytest.fixture(scope="module")
def h256(golden):
    with np.load(golden("age_h256.npz")) as file:
        return dict(file)


def skeletons(arrays, batch=0):
    """Batch 0, 1 or 2 of a golden file as (B, f, J, 3)."""
    names = [f"{axis}/inputs" if batch == 0 else f"{axis}/extra_inputs" for axis in AXES]
    axes = [arrays[name] if batch == 0 else arrays[name][batch - 1] for name in names]
    return torch.tensor(np.stack(axes, axis=-1))


def h32_weights(h32):
    return {name.replace("/w/", "/", 1): array for name, array in h32.items() if "/w/" in name}


def h256_weights(h256):
    """The weights of dev_h256 are not stored but drawn anew."""
    scales = {"memory_layer/kernel": 0.3, "attention_layer/kernel": 0.08, "dense/kernel": 0.08}
    variables = {}
    for number, axis in enumerate(AXES):
        rng = np.random.RandomState(2021 + number)
        for name, shape in zip(h256["variables"], json.loads(str(h256["shapes"])), strict=True):
            scale = 0.2 if name.endswith("bias") else 0.1
            scale = next((s for end, s in scales.items() if name.endswith(end)), scale)
            if name not in paper.COPIES:
                variables[f"{axis}/{name}"] = rng.uniform(-scale, scale, shape).astype(np.float32)
        for copy, source in paper.COPIES.items():
            variables[f"{axis}/{copy}"] = variables[f"{axis}/{published.AGE[source]}"].copy()
    return variables


def training_step(model, optimizer, batch, locality):
    optimizer.zero_grad()
    losses = model.losses(batch, locality)
    losses["total"].sum().backward()
    torch.nn.utils.clip_grad_value_(model.parameters(), CLIP)
    optimizer.step()
    return {name: loss.detach() for name, loss in losses.items()}


@pytest.mark.parametrize("size", ["h32", "h256"])
def test_golden_forward(size, request):
    golden = request.getfixturevalue(size)
    model = AGE.from_published(h32_weights(golden) if size == "h32" else h256_weights(golden))
    with torch.no_grad():
        out = model.encode(skeletons(golden))
    pairs = {
        "reconstruction": "recon", "encoder_outputs": "enc_outputs",
        "decoder_outputs": "dec_cell_outputs"
    }
    pairs["attention_vectors"] = "dec_attention_vectors"
    ages = out["encodings"].chunk(3, dim=2)
    for number, axis in enumerate(AXES):
        np.testing.assert_allclose(ages[number], golden[f"{axis}/age"], atol=1e-5)
        alignments = golden[f"{axis}/alignments"].transpose(1, 0, 2)
        np.testing.assert_allclose(out["alignment"][number], alignments, atol=1e-5)
        for ours, theirs in pairs.items():
            if f"{axis}/{theirs}" in golden:
                np.testing.assert_allclose(out[ours][number], golden[f"{axis}/{theirs}"], atol=1e-5)
        if size == "h32":
            _, states = model.encoder(skeletons(golden).permute(3, 0, 1, 2))
            for layer, state in enumerate(states):
                for name, value in zip("hc", state, strict=True):
                    expected = golden[f"{axis}/enc_{name}{layer}"]
                    np.testing.assert_allclose(value[number].detach(), expected, atol=1e-5)


@pytest.mark.parametrize("size", ["h32", "h256"])
def test_golden_losses(size, request):
    golden = request.getfixturevalue(size)
    variables = h32_weights(golden) if size == "h32" else h256_weights(golden)
    released = AGE.from_published(variables, count_copies=True)
    full = AGE.from_published(variables)
    expected = {
        name: np.array([golden[f"{axis}/{name}"] for axis in AXES], dtype=np.float64)
        for name in ("recon_loss", "locality_loss", "l2_term", "l2_term_of_duplicates", "total_LA",
                     "total_BA")
    }
    batch = skeletons(golden)
    with torch.no_grad():
        la, ba, ours = (released.losses(batch), released.losses(batch,
                                                                locality=False), full.losses(batch))
    for value, name in ((la["reconstruction"], "recon_loss"), (la["locality"], "locality_loss")):
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    np.testing.assert_allclose(la["l2"], expected["l2_term"], rtol=1e-5)
    np.testing.assert_allclose(la["total"], expected["total_LA"], rtol=1e-5)
    np.testing.assert_allclose(ba["total"], expected["total_BA"], rtol=1e-5)
    once = expected["l2_term"] - expected["l2_term_of_duplicates"]
    np.testing.assert_allclose(ours["l2"], once, rtol=1e-5)
    np.testing.assert_allclose(ours["total"],
                               expected["total_LA"] - expected["l2_term_of_duplicates"], rtol=1e-5)
    assert ba["locality"].abs().max() == 0


@pytest.mark.parametrize("size", ["h32", "h256"])
@pytest.mark.parametrize("locality", [True, False])
def test_golden_gradient_norms(size, locality, request):
    golden = request.getfixturevalue(size)
    variables = h32_weights(golden) if size == "h32" else h256_weights(golden)
    model = AGE.from_published(variables, count_copies=True)
    model.losses(skeletons(golden), locality)["total"].sum().backward()
    gradients = published_gradients(model)
    for axis in AXES:
        norms = [np.linalg.norm(gradients[f"{axis}/{name}"]) for name in golden["variables"]]
        np.testing.assert_allclose(norms, golden[f"{axis}/grad_norms{'' if locality else '_BA'}"],
                                   rtol=2e-4)
        if locality:
            counts = [(np.abs(gradients[f"{axis}/{name}"]) > CLIP).sum()
                      for name in golden["variables"]]
            np.testing.assert_array_equal(counts, golden[f"{axis}/grad_clipped_count"])


def test_golden_gradients_and_steps(h32, golden):
    with np.load(golden("age_h32_steps.npz")) as file:
        expected = dict(file)
    model = AGE.from_published(h32_weights(h32), count_copies=True)
    model.losses(skeletons(h32))["total"].sum().backward()
    gradients = published_gradients(model)
    for name, array in expected.items():
        kind, _, variable = name.partition("/")
        if kind == "grad":
            np.testing.assert_allclose(gradients[f"x/{variable}"], array, rtol=2e-4, atol=1e-5,
                                       err_msg=name)
    optimizer = TFAdam(model.parameters(), lr=LR)
    reconstructions = []
    for step in (1, 2, 3):
        losses = training_step(model, optimizer, skeletons(h32, step - 1), locality=True)
        reconstructions.append(losses["reconstruction"].detach())
        weights = weights_of(model)
        for name, array in expected.items():
            kind, _, variable = name.partition("/")
            if kind == f"step{step}":
                np.testing.assert_allclose(weights[f"x/{variable}"], array, atol=1e-5, err_msg=name)
    with torch.no_grad():
        reconstructions.append(model.losses(skeletons(h32))["reconstruction"])
    steps = np.stack([h32[f"{axis}/step_losses"] for axis in AXES], axis=1)
    np.testing.assert_allclose(torch.stack(reconstructions), steps, rtol=1e-5)


def test_golden_steps_h256(h256):
    """Weights after one and three clipped Adam steps: first 16 values, and how far each variable
    has moved.
    """
    model = AGE.from_published(h256_weights(h256), count_copies=True)
    start = {name: array.copy() for name, array in weights_of(model).items()}
    optimizer = TFAdam(model.parameters(), lr=LR)
    for step in (1, 2, 3):
        training_step(model, optimizer, skeletons(h256, step - 1), locality=True)
        if step == 2:
            continue
        weights = weights_of(model)
        for number, name in enumerate(h256["variables"]):
            first = weights[f"x/{name}"].ravel()[:16]
            np.testing.assert_allclose(first, h256[f"x/step{step}_first16/{name}"], atol=1e-5,
                                       err_msg=name)
            for axis in AXES:
                moved = np.linalg.norm(weights[f"{axis}/{name}"] - start[f"{axis}/{name}"])
                np.testing.assert_allclose(moved, h256[f"{axis}/step{step}_delta_norms"][number],
                                           rtol=1e-3)


@pytest.mark.parametrize("attention", ["LA", "BA"])
def test_golden_trace(attention, h32, golden):
    """60 clipped Adam steps over three batches: reconstruction, total, attention near the locality
    target.
    """
    with np.load(golden("age_trace.npz")) as file:
        expected = np.stack([file[f"{attention}/{axis}"] for axis in AXES], axis=1)  # (60, 3, 3)
    model = AGE.from_published(h32_weights(h32), count_copies=True)
    optimizer = TFAdam(model.parameters(), lr=LR)
    near = torch.tensor([[abs(i - (5 - t)) <= 1 for i in range(6)] for t in range(6)])
    for step, row in enumerate(expected):
        batch = skeletons(h32, step % 3)
        with torch.no_grad():
            share = (model.encode(batch)["alignment"] * near).sum(dim=(1, 2, 3)) / (6 * len(batch))
        losses = training_step(model, optimizer, batch, locality=attention == "LA")
        ours = torch.stack([losses["reconstruction"], losses["total"], share], dim=1).detach()
        np.testing.assert_allclose(ours, row, rtol=1e-4, err_msg=f"step {step}")


def test_features_for_recognition(h32, golden):
    model = AGE.from_published(h32_weights(h32))
    with torch.no_grad():
        encodings = model.encode(skeletons(h32))["encodings"]
    with np.load(golden("rn_h32.npz")) as file:
        np.testing.assert_allclose(encodings.flatten(0, 1), file["age_ap"], atol=1e-5)
        np.testing.assert_allclose(concatenated(encodings), file["age_sc"], atol=1e-5)


def test_locality_mask(h32):
    np.testing.assert_allclose(locality_mask(6), h32["objective_attention"], atol=1e-12)
    np.testing.assert_allclose(locality_mask(6, "same"), h32["objective_attention"][::-1],
                               atol=1e-12)


def test_stored_checkpoint(golden):
    """Weights, encodings and losses stored after three steps; the names in the file stay."""
    stored = torch.load(golden("age_checkpoint.pt"), weights_only=True)
    model = AGE(**stored["arguments"])
    model.load_state_dict(stored["model"])
    out, losses = model.encode(stored["skeletons"]), model.losses(stored["skeletons"])
    for name in ("encodings", "alignment"):
        torch.testing.assert_close(out[name], stored[name], rtol=0, atol=1e-6)
    for name, value in stored["losses"].items():
        torch.testing.assert_close(losses[name], value, rtol=1e-6, atol=0)
    assert list(model.state_dict()) == list(stored["model"])
    assert all(torch.equal(value, stored["model"][n]) for n, value in model.state_dict().items())
    with pytest.raises(RuntimeError, match="size mismatch"):
        AGE(6, 8, count_copies=True).load_state_dict(stored["model"])
    with pytest.raises(RuntimeError, match="copies"):
        AGE(5, 8).load_state_dict(stored["model"])


def test_wrong_input(h32):
    variables = h32_weights(h32)
    missing = {name: array for name, array in variables.items() if name != "y/memory_layer/kernel"}
    with pytest.raises(InputError, match="y/memory_layer/kernel"):
        AGE.from_published(missing)
    with pytest.raises(InputError, match=r"z/decode/decoder/dense/bias.*\(20,\).*\(25,\)"):
        AGE.from_published({**variables, "z/decode/decoder/dense/bias": np.zeros(25)})
    for wrong in ({"target": "forward"}, {"decoder_input": "ones"}, {"attention": "MA"}):
        with pytest.raises(InputError, match="choose"):
            AGE(20, 8, **wrong)


def test_stop_rule(golden):
    for name, case in json.loads(golden("age_stop_rule.json").read_text()).items():
        losses = case["validation_losses"]
        seen = next((n for n in range(len(losses) + 1) if stops(losses[:n])), None)
        assert seen == (case["validations_seen"] if case["stopped"] else None), name
