"""PoseGait's CNN against the released one, run with known weights (golden/posegait.npz): results,
of large ones every k-th number (`thin`); weights and inputs by the recipe in `meta`.
"""

import json

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.models.posegait import PoseGait


def thin(values, at_most: int) -> np.ndarray:
    flat = np.asarray(values).ravel()
    return flat[::-(-flat.size // at_most)]


@pytest.fixture
def released(golden) -> tuple[np.lib.npyio.NpzFile, PoseGait, torch.Tensor, torch.Tensor]:
    """The golden file, a model with its weights and without dropout, inputs and classes."""
    file = np.load(golden("posegait.npz"))
    meta, model = json.loads(str(file["meta"])), PoseGait()
    rng, state, shapes = np.random.RandomState(meta["seed"] + 1), {}, model.state_dict()
    for name in map(str, file["names"]):
        shape = tuple(shapes[name].shape)
        limit = {1: 0.2, 2: 0.02, 4: 0.15}[len(shape)]
        state[name] = rng.uniform(-limit, limit, shape).astype(np.float32)
        if len(shape) == 1 and name.endswith("weight"):
            state[name] += 1
    model.load_released(state).dropout.p = 0.0
    x = rng.normal(0, 0.7, (meta["B"], 126, 17)).astype(np.float32)
    return file, model, torch.from_numpy(x), torch.from_numpy(rng.randint(0, 5, meta["B"]))


def test_layers(released):
    file, model, x, _ = released
    outputs: dict[str, list[torch.Tensor]] = {}
    for name, layer in model.named_children():
        if name.startswith("conv"):
            keep = outputs.setdefault(name, [])
            layer.register_forward_hook(lambda _, __, out, keep=keep: keep.append(out.detach()))
    feature, logits = model(x)
    outputs["conv2_1"], outputs["conv2_1_2"] = outputs["conv2_1"][:1], outputs["conv2_1"][1:]
    for name, (out,) in outputs.items():
        assert out.double().norm().item() == pytest.approx(file[f"norm/{name}"], rel=1e-5)
        np.testing.assert_allclose(thin(out[:1, :4], 100), file[f"part/{name}"], atol=1e-4)
    np.testing.assert_allclose(feature.detach(), file["fc"], atol=1e-4)
    np.testing.assert_allclose(logits.detach(), file["out"], atol=1e-4)
    assert sum(p.numel() for p in model.parameters()) == file["params"] == 4_229_477
    for name, value in model.state_dict().items():
        if f"buffers1/{name}" in file:
            np.testing.assert_allclose(thin(value, 100), file[f"buffers1/{name}"], rtol=1e-4,
                                       atol=1e-5)


def test_gradients_and_steps(released):
    file, model, x, labels = released
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-6), []
    for number in range(3):
        loss = model.losses(x, labels)["total"]
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if number == 0:
            assert loss.item() == pytest.approx(file["loss"], rel=1e-5)
            gradients = {name: p.grad for name, p in model.named_parameters()}
            norms = [gradients[str(name)].norm().item() for name in file["names"]]
            np.testing.assert_allclose(norms, file["gradnorm"], rtol=1e-4)
            for name, gradient in gradients.items():
                if f"g/{name}" in file:
                    error = thin(gradient, 200) - file[f"g/{name}"]
                    assert np.abs(error).max() < 1e-4 * gradient.norm().item()
        optimizer.step()
    np.testing.assert_allclose(losses, file["losses_steps"], rtol=1e-5)
    feature, logits = model.eval()(x)
    np.testing.assert_allclose(feature.detach(), file["fc_eval_after3"], atol=1e-4)
    np.testing.assert_allclose(logits.detach(), file["out_eval_after3"], atol=1e-4)


@pytest.mark.parametrize(("joints", "rows", "inputs"), [(14, 123, 30), (20, 177, 44),
                                                        (25, 222, 55)])
def test_windows_of_six_frames(joints, rows, inputs):
    """Padded: (R, 6) -> (R/2, 3) -> (R/4, 1)."""
    model = PoseGait(rows, 6, 7, padding=1, centres=True, joints=joints)
    assert model.fc.in_features == 128 * inputs
    skeletons = torch.randn(3, 6, joints, 3, generator=torch.Generator().manual_seed(0))
    x = torch.randn(4, rows, 6, generator=torch.Generator().manual_seed(1))
    losses = model.losses(x, torch.tensor([0, 6, 2, 2]), centre_weight=0.5)
    torch.testing.assert_close(losses["total"], losses["cross_entropy"] + 0.5 * losses["centre"])
    losses["total"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    model.eval()
    assert model.encode(skeletons).shape == (3, 1, 512)
    again = PoseGait(**model.arguments).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.encode(skeletons), model.encode(skeletons))


def test_centre_loss():
    model = PoseGait(177, 6, 3, padding=1, centres=True).eval()
    x, labels = torch.randn(2, 177, 6), torch.tensor([2, 0])
    feature, _ = model(x)
    away = ((feature[0] - model.centres[2])**2).sum() + ((feature[1] - model.centres[0])**2).sum()
    torch.testing.assert_close(model.losses(x, labels)["centre"], away / 4)


def test_training(training, once):
    """Every epoch is scored, and the losses are logged."""
    plain, _ = once("PoseGait-own-reading", "--epochs", 3)
    centred = training("PoseGait-own-reading")
    centred("--epochs", 1, "--centre_weight", 0.01)
    losses = [float(row["cross_entropy"]) for row in plain.history()[:-1]]
    assert len(losses) == 3 and losses[2] < losses[0]
    assert "centre" in centred.history()[0] and "centre" not in plain.history()[0]


def test_more_persons_than_sequences_in_a_batch(training):
    """As the published batches of eight have: persons are not balanced."""
    result = training("PoseGait-own-reading")("--epochs", 1, "--batch_size", 3)
    assert result["settings"]["balance"] is False


def test_wrong_use():
    with pytest.raises(InputError, match=r"no variable 'conv1\.0\.weight'"):
        PoseGait().load_released({})
    state = PoseGait().state_dict()
    with pytest.raises(InputError, match=r"'fc_cls\.bias': expected shape \(7,\), found \(5,\)"):
        PoseGait(persons=7).load_released({**state, "fc_cls.weight": torch.zeros(7, 512)})
