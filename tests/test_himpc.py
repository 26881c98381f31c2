"""Hi-MPC against numbers of the released code (golden/himpc_*.npz), and by itself."""

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.himpc import LEVELS, HiMPC, contrast
from tests.flat import Golden, split


@pytest.fixture(params=["ks20", "ias"])
def released(request, golden):
    return Golden(golden(f"himpc_{request.param}.npz"), HiMPC)


def arguments_of(released):
    prototypes = [released.tensor(f"prototypes_{level}") for level in LEVELS]
    return released.tensor("skeletons"), released.tensor("labels").long(), prototypes


def close(found, expected, share):
    """Within this share of the largest value."""
    np.testing.assert_allclose(found.detach(), expected, rtol=0,
                               atol=share * np.abs(expected).max())


def test_features(released):
    skeletons = released.tensor("skeletons")
    for level, frames in released.model.encode(skeletons).items():
        close(frames, released[f"frames_{level}"], 1e-6)
    close(released.model.features(skeletons), released["MSMR"], 1e-6)
    torch.testing.assert_close(
        released.model.embed(skeletons).mean(dim=1), released.model.features(skeletons))


@pytest.mark.parametrize("focus", [1, -1, 0])
def test_losses(released, focus):
    released.model.focus = focus
    losses = released.model.losses(*arguments_of(released))
    found = [losses[name].item() for name in (*LEVELS, "total")]
    expected = [released[f"loss_{level}"] for level in LEVELS] + [released["total"]]
    if focus != 1:
        expected = released[f"focus{focus}"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    losses["total"].backward()
    if focus != 1:
        norms = [
            np.linalg.norm(g)
            for g in split(released.flat(lambda p: p.grad), released.shapes).values()
        ]
        np.testing.assert_allclose(norms, released[f"focus{focus}_norms"], rtol=1e-4)


def test_importance_of_frames(released):
    for level, (_, weights) in released.model.contrasts(*arguments_of(released)).items():
        np.testing.assert_allclose(weights.detach(), released[f"importance_{level}"], atol=1e-5)


def test_gradients_and_steps(released):
    optimizer, gradients = TFAdam(released.model.parameters(), released.meta["lr"]), None
    for step in (1, 2, 3):
        optimizer.zero_grad()
        released.model.losses(*arguments_of(released))["total"].backward()
        if gradients is None:
            gradients = released.flat(lambda p: p.grad)
            error = np.abs(released.kept(gradients) - released["g"])
            assert (error <= 1e-4 * released.kept(released.largest(gradients))).all()
        optimizer.step()
        if step != 2:
            found = released.kept(released.flat(lambda p: p))
            counts = np.abs(released["g"]) > 1e-6
            np.testing.assert_allclose(found[counts], released[f"after{step}"][counts], atol=5e-6)


def test_contrast_is_its_definition():
    """Frame by frame, cluster by cluster, as the paper writes it; both signs occur."""
    generator = torch.Generator().manual_seed(3)
    v, A = torch.randn(7, 3, 5, generator=generator), torch.randn(2, 5, 5, generator=generator)
    C, labels = torch.randn(4, 5, generator=generator), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    errors, weights = contrast(v, A, labels, C, focus=1)
    signs = set()
    for m in range(2):
        for b in range(7):
            logits = torch.stack([(x @ A[m]) @ (C @ A[m]).T / 5**0.5 for x in v[b]])  # (f, K)
            placed = ((v[b].mean(dim=0) @ A[m]) @ (C @ A[m]).T).argmax()
            sign = -1 if placed == labels[b] else 1
            signs.add(sign)
            torch.testing.assert_close(weights[m, b], (sign * logits[:, placed]).softmax(dim=0))
            expected = -logits.log_softmax(dim=1)[:, labels[b]]
            torch.testing.assert_close(errors[m, b], expected, atol=1e-5, rtol=1e-5)
    assert signs == {1, -1}


def test_fresh_model():
    model = HiMPC(20, 32, 3, torch.Generator().manual_seed(0), focus=-1)
    again = HiMPC(model.skeleton, generator=torch.Generator().manual_seed(0), **model.arguments)
    for own, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(own, other)
    assert again.focus == -1
    for level, nodes in zip(LEVELS, (20, 10, 5), strict=True):
        first, _, second = model.encoder[level]
        limit = (6 / (3 * nodes + 32))**0.5
        assert 0.9 * limit < first.weight.abs().max() <= limit
        assert first.bias.abs().max() == second.bias.abs().max() == 0
        assert model.A[level].std().item() == pytest.approx(1, abs=0.05)
    skeletons = torch.randn(6, 4, 20, 3, generator=torch.Generator().manual_seed(1))
    prototypes = [torch.randn(k, 32, generator=torch.Generator().manual_seed(k)) for k in (2, 3, 4)]
    labels = torch.tensor([[0, 1, 0, 1, 0, 1], [2, 1, 0, 2, 1, 0], [0, 1, 2, 3, 0, 1]])
    model.losses(skeletons, labels, prototypes)["total"].backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0, name


def test_size_at_the_published_setting():
    """Published with a copy of every transformation: 3.37 M (nested-copies)."""
    size = sum(p.numel() for p in HiMPC(25).parameters())
    assert (size, size + 3 * 8 * 256**2) == (1_801_728, 3_374_592)


def test_copies_of_transformations_are_ignored(released):
    variables = dict(released.variables)
    for name, array in released.variables.items():
        if name.startswith("Hi_MPC/"):
            variables[f"{name}/Initializer/Variable"] = array + 1
            variables[f"Hi_MPC/{name}/Adam"] = array + 1
    variables["Hi_MPC/Hi_MPC/beta1_power"] = np.float32(0.9)
    model = HiMPC.from_published(variables)
    for own, other in zip(model.parameters(), released.model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_other_variables():
    with pytest.raises(InputError, match="no variable 'W_1'"):
        HiMPC.from_published({"a/b": np.zeros(3)})
