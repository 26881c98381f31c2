"""AGE beyond the released numbers: every setting against tests/reference/age.py, fresh models."""

import numpy as np
import pytest
import torch

from skeleton_reid.models import age as paper
from skeleton_reid.models.age import AGE, AXES, encoder_states, locality_mask
from skeleton_reid.tensorflow_v1 import published
from tests.reference import age as plain_age
from tests.reference.age import published_gradients, weights_of


@pytest.mark.parametrize("target", ["reverse", "same"])
def test_states_stand_with_the_encodings(target):
    """Row t of both is of the frame that decoder step t rebuilds; axis by axis."""
    model = AGE(5, 4, target=target)
    out = model.encode(torch.randn(2, 3, 5, 3, generator=torch.Generator().manual_seed(0)))
    rows = encoder_states(out, target)
    assert rows.shape == out["encodings"].shape
    for t, frame in enumerate((2, 1, 0) if target == "reverse" else (0, 1, 2)):
        for axis in range(3):
            assert torch.equal(rows[:, t, 4 * axis:4 * axis + 4], out["encoder_outputs"][axis, :,
                                                                                         frame])


@pytest.mark.parametrize("decoder_input", ["zeros", "previous"])
@pytest.mark.parametrize("target", ["reverse", "same"])
@pytest.mark.parametrize(("frames", "joints"), [(1, 14), (5, 3)])
def test_three_axes_as_one(decoder_input, target, frames, joints):
    """The batched computation gives what three separate models give, losses and gradients, in
    float64.
    """
    generator = torch.Generator().manual_seed(1)
    model = AGE(joints, 7, decoder_input=decoder_input, target=target, generator=generator).double()
    with torch.no_grad():  # larger weights than the initial ones, biases not 0
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5, generator=generator)
    x = torch.randn(4, frames, joints, 3, dtype=torch.float64, generator=generator)
    out, losses = model.encode(x), model.losses(x)
    losses["total"].sum().backward()
    gradients, weights = published_gradients(model), weights_of(model)
    for number, axis in enumerate(AXES):
        w = {
            name: torch.tensor(weights[f"{axis}/{name}"]).requires_grad_()
            for name in published.AGE.values()
        }
        one = x[..., number]
        goal = one.flip(1) if target == "reverse" else one
        given = None
        if decoder_input == "previous":
            given = torch.cat([torch.zeros_like(goal[:, :1]), goal[:, :-1]], dim=1)
        alignment, reconstruction, encodings = plain_age.encode(w, one, given)
        slow = plain_age.losses(w, one, reverse=target == "reverse", decoder_inputs=given)
        slow["total"].backward()
        torch.testing.assert_close(out["alignment"][number], alignment, rtol=0, atol=1e-12)
        torch.testing.assert_close(out["reconstruction"][number], reconstruction, rtol=0,
                                   atol=1e-12)
        torch.testing.assert_close(out["encodings"].chunk(3, dim=2)[number], encodings, rtol=0,
                                   atol=1e-12)
        for term in ("reconstruction", "locality", "l2", "total"):
            torch.testing.assert_close(losses[term][number], slow[term], rtol=1e-12, atol=1e-12)
        for name, value in w.items():
            np.testing.assert_allclose(gradients[f"{axis}/{name}"], value.grad, rtol=1e-9,
                                       atol=1e-11, err_msg=name)


@pytest.mark.parametrize("decoder_input", ["zeros", "previous"])
@pytest.mark.parametrize("target", ["reverse", "same"])
@pytest.mark.parametrize("attention", ["MBA", "none"])
def test_masked_and_no_attention(attention, decoder_input, target):
    """Each axis against the slow version, in float64; the loss of locality is left out."""
    generator = torch.Generator().manual_seed(1)
    model = AGE(4, 7, decoder_input, target, attention=attention, generator=generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5, generator=generator)
    x = torch.randn(3, 5, 4, 3, dtype=torch.float64, generator=generator)
    out, losses, weights = model.encode(x), model.losses(x), weights_of(model)
    losses["total"].sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert losses["locality"].abs().max() == 0
    for number, axis in enumerate(AXES):
        w = {
            name: torch.tensor(weights[f"{axis}/{name}"]) for name in published.AGE.values()
            if f"{axis}/{name}" in weights
        }
        one = x[..., number]
        goal = one.flip(1) if target == "reverse" else one
        given = torch.cat([torch.zeros_like(goal[:, :1]), goal[:, :-1]], dim=1)
        given = given if decoder_input == "previous" else None
        if attention == "MBA":
            mask = plain_age.locality_mask(5, target == "reverse", x.dtype)
            alignment, reconstruction, encodings = plain_age.encode(w, one, given, mask)
            torch.testing.assert_close(out["alignment"][number], alignment, rtol=0, atol=1e-12)
            torch.testing.assert_close(alignment.sum(2), torch.ones_like(alignment[..., 0]))
        else:
            h, reconstruction = plain_age.encode_without_attention(w, one, given)
            encodings = h.flip(1) if target == "reverse" else h
        rebuilt, features = out["reconstruction"][number], out["encodings"].chunk(3, dim=2)[number]
        torch.testing.assert_close(rebuilt, reconstruction, rtol=0, atol=1e-12)
        torch.testing.assert_close(features, encodings, rtol=0, atol=1e-12)
        loss = 0.5 * (reconstruction - goal).square().sum()
        torch.testing.assert_close(losses["reconstruction"][number], loss)


def test_no_attention_has_no_parameters_of_it():
    model = AGE(5, 8, attention="none")
    assert not {"decoder.memory.weight", "decoder.attention.weight"} & model.state_dict().keys()
    assert model.decoder.cells[0].weight.shape == (3, 32, 5 + 8)
    out = model.encode(torch.zeros(2, 6, 5, 3))
    assert "alignment" not in out and "attention_vectors" not in out
    again = AGE(**model.arguments, generator=torch.Generator().manual_seed(9))
    again.load_state_dict(model.state_dict())
    assert torch.equal(
        again.encode(torch.ones(1, 2, 5, 3))["encodings"],
        model.encode(torch.ones(1, 2, 5, 3))["encodings"])


def test_locality_counts_with_la_alone():
    x = torch.randn(2, 6, 5, 3, generator=torch.Generator().manual_seed(0))
    for attention in ("LA", "BA", "MBA"):
        model = AGE(5, 8, attention=attention)
        assert bool(model.losses(x)["locality"].all()) == (attention == "LA")
        assert model.losses(x, locality=True)["locality"].all()


@pytest.mark.parametrize("joints", [14, 20, 25])
@pytest.mark.parametrize("copies", [True, False])
def test_fresh_model(joints, copies):
    model = AGE(joints, 16, count_copies=copies, decoder_input="previous",
                generator=torch.Generator().manual_seed(3))
    x = torch.randn(2, 4, joints, 3, generator=torch.Generator().manual_seed(4))
    out = model.encode(x)
    assert out["alignment"].shape == (3, 2, 4, 4)
    assert out["reconstruction"].shape == (3, 2, 4, joints)
    assert out["encodings"].shape == (2, 4, 48)
    torch.testing.assert_close(out["alignment"].sum(3), torch.ones(3, 2, 4))
    losses = model.losses(x)
    assert all(value.shape == (3,) and value.isfinite().all() for value in losses.values())
    losses["total"].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # A copy of zeros has no gradient.
        assert parameter.grad.abs().sum() > 0 or name.endswith("lstm_weights_layer_2"), name


def test_initial_values():
    model = AGE(20, generator=torch.Generator().manual_seed(5))
    again = AGE(20, generator=torch.Generator().manual_seed(5))
    other = AGE(20, generator=torch.Generator().manual_seed(6))
    limits = {"cells": 0.1, "memory": (6 / 512)**0.5, "attention": (6 / 768)**0.5, "output": 0.2}
    again, other = again.state_dict(), other.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, again[name])
        if name.endswith("bias"):
            assert value.abs().max() == 0
            continue
        limit = limits[name.split(".")[1]]
        assert 0.95 * limit < value.abs().max() <= limit, name
        # Uniform, or normal truncated at two deviations (0.088 for a deviation of 0.1).
        deviation = 0.088 if "output" in name else limit / 3**0.5
        assert abs(value.std() / deviation - 1) < 0.02, name
        assert not torch.equal(value[0], value[1]) and not torch.equal(value, other[name])
    sizes = [
        sum(p[0].numel() for p in AGE(20, count_copies=copies).parameters())
        for copies in (True, False)
    ]
    assert sizes == [2_365_460, 2_365_460 - 283_648]  # the first as in the released graph


def test_copies_start_equal_and_round_trip():
    model = AGE(5, 8, count_copies=True)
    for copy, source in paper.COPIES.items():
        assert torch.equal(model.copies[copy], model.get_parameter(source))
        assert model.copies[copy] is not model.get_parameter(source)
    again = AGE(**model.arguments, generator=torch.Generator().manual_seed(9))
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 5, 3, generator=torch.Generator().manual_seed(4))
    assert torch.equal(model.losses(x)["total"], again.losses(x)["total"])


def test_mean_alignment(monkeypatch):
    model = AGE(5, 4)
    skeletons = torch.randn(7, 3, 5, 3, generator=torch.Generator().manual_seed(0))
    slow = sum(model.encode(one[None])["alignment"][:, 0].detach() for one in skeletons) / 7
    monkeypatch.setattr(paper, "BATCH", 3)
    torch.testing.assert_close(paper.attention(model, skeletons)[0], slow)


def test_attention_near_its_target(monkeypatch):
    uniform = torch.full((3, 6, 6), 1 / 6)
    perfect = torch.eye(6).flip(1).expand(3, 6, 6)
    # Two frames for the first and the last step, three for the four others.
    for target, alignment, share in (("reverse", uniform, 16 / 36), ("same", uniform, 16 / 36),
                                     ("reverse", perfect, 1)):
        model = AGE(5, 4, target=target)
        monkeypatch.setattr(model, "encode", lambda _, own=alignment: {"alignment": own[:, None]})
        np.testing.assert_allclose(
            paper.attention(model, torch.zeros(1, 6, 5, 3))[1], share, rtol=1e-6)
    assert locality_mask(6).argmax(dim=1).tolist() == [5, 4, 3, 2, 1, 0]
