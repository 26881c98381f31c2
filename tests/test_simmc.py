"""SimMC's model, losses, gradients and steps against released numbers and written-out formulas."""

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.simmc import SimMC, draw_masks, mean_of_clusters, prototype_contrast
from skeleton_reid.reid.cluster_quality import tightness

NAMES = {
    "SimMC/dense/kernel": "dense_kernel", "SimMC/dense/bias": "dense_bias",
    "SimMC/dense_1/kernel": "dense_1_kernel", "SimMC/dense_1/bias": "dense_1_bias",
    "SimMC/SimMC/Variable": "W_pred", "SimMC/SimMC/Variable_1": "b_pred"
}


class Released:
    """One golden file: the model with its weights, and the arguments of its losses."""
    def __init__(self, path):
        with np.load(path) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.model = SimMC.from_published(
            {name: self.arrays[f"w_{short}"] for name, short in NAMES.items()})
        get = self.get
        self.loss_arguments = {
            "skeletons": get("X"), "masks": torch.stack([get("mask_1"),
                                                         get("mask_2")]),
            "labels": torch.stack([get("labels_1"), get("labels_2")]).long(),
            "prototypes": [get("prototypes_1"),
                           get("prototypes_2")], "temperature": float(self.arrays["temperature"]),
            "mask_lambda": float(self.arrays["lambda"])
        }

    def get(self, name):
        return torch.from_numpy(self.arrays[name])

    def variables(self, of):
        """The model's parameters, or what `of` takes from them, under the golden names and
        TensorFlow's shapes.
        """
        first, second = self.model.encoder
        layers = {"dense": first, "dense_1": second}
        found = {f"{name}_kernel": of(layer.weight).T for name, layer in layers.items()}
        found |= {f"{name}_bias": of(layer.bias) for name, layer in layers.items()}
        return found | {
            "W_pred": of(self.model.predictor.weight).T, "b_pred": of(self.model.predictor.bias)
        }

    def expect(self, prefix, found, rtol, atol):
        """Compare with the stored arrays, of which large ones keep every 11th element."""
        for name, array in found.items():
            expected = self.arrays[f"{prefix}_{name}"]
            array = array.detach().contiguous().numpy()
            if array.shape != expected.shape:
                array = array.reshape(-1)[::11]
            np.testing.assert_allclose(array, expected, rtol=rtol, atol=atol,
                                       err_msg=f"{prefix} {name}")


@pytest.fixture(params=["ks20", "biwi"])
def released(request, golden):
    return Released(golden(f"simmc_{request.param}.npz"))


def test_features(released):
    frames = released.model.encode(released.get("X"))
    for name, mask in (("seq_features", slice(None)), ("masked_features_1",
                                                       released.get("mask_1"))):
        found = frames[:, mask].mean(dim=1).detach()
        np.testing.assert_allclose(found, released.arrays[name], rtol=0, atol=1e-6)


LOSSES = {
    "MPC_1": "MPC_loss_1", "MPC_2": "MPC_loss_2", "MPC": "MPC_loss", "MIC": "MIC_loss",
    "total": "total_loss"
}


def test_losses_gradients_and_steps(released):
    optimizer = TFAdam(released.model.parameters(), float(released.arrays["lr"]))
    for step in range(4):
        losses = released.model.losses(**released.loss_arguments)
        if step in (0, 3):
            prefix = "after3_" if step else ""
            for name, golden_name in LOSSES.items():
                assert losses[name].item() == pytest.approx(
                    float(released.arrays[prefix + golden_name]), rel=1e-5)
        optimizer.zero_grad()
        losses["total"].backward()
        if step == 0:
            gradients = released.variables(lambda p: p.grad)
            for name, gradient in gradients.items():
                released.expect("grad", {name: gradient}, rtol=1e-5,
                                atol=1e-5 * gradient.abs().max().item())
        if step == 3:
            break
        optimizer.step()
        if step == 0:
            released.expect("after1", released.variables(lambda p: p), rtol=0, atol=2e-6)
    released.expect("after3", released.variables(lambda p: p), rtol=0, atol=5e-6)


@pytest.mark.parametrize(("case", "zeroed"), [("zero1", [0]), ("zero12", [0, 1])])
def test_labels_all_zero(released, case, zeroed):
    released.loss_arguments["labels"][zeroed] = 0
    losses = released.model.losses(**released.loss_arguments)
    for name, golden_name in LOSSES.items():
        expected = float(np.squeeze(released.arrays[f"{case}_{golden_name}"]))
        assert losses[name].item() == pytest.approx(expected, rel=1e-5)
    losses["total"].backward()
    for name, gradient in released.variables(lambda p: p.grad).items():
        assert gradient.norm().item() == pytest.approx(
            float(released.arrays[f"{case}_gradnorm_{name}"]), rel=1e-4)


def test_fresh_model():
    model = SimMC(60, 32, 2, torch.Generator().manual_seed(0))
    assert (sum(p.numel() for p in model.parameters()) == 60 * 32 + 32 + 2 *
            (32 * 32 + 32) + 32 * 32 + 32)
    skeletons = torch.randn(7, 6, 20, 3, generator=torch.Generator().manual_seed(1))
    assert model.encode(skeletons).shape == (7, 6, 32)
    masks = torch.from_numpy(draw_masks(np.random.RandomState(0), 6, (2, 3)))
    assert masks.sum(dim=1).tolist() == [4, 3]
    labels = torch.tensor([[0, 1, 2, 0, 1, 2, 0], [1, 1, 0, 0, 1, 1, 0]])
    losses = model.losses(skeletons, masks, labels,
                          [torch.randn(3, 32), torch.randn(2, 32)], 0.08, 0.5)
    losses["total"].backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    glorot = (6 / (60 + 32))**0.5
    assert 0.9 * glorot < model.encoder[0].weight.abs().max() <= glorot
    assert model.predictor.weight.std().item() == pytest.approx(1, abs=0.1)
    assert all(layer.bias.abs().max() == 0 for layer in [*model.encoder, model.predictor])


def test_size_at_the_published_setting():
    assert sum(p.numel() for p in SimMC(75).parameters()) == 151_040  # published: 0.15 M


def test_prototype_contrast_at_known_angles():
    """Features on the prototypes: cosines 1 and 0."""
    prototypes = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    features = torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    expected = -np.log(np.exp(1 / 0.5) / (np.exp(1 / 0.5) + 1))
    found = prototype_contrast(features, torch.tensor([0, 1]), prototypes, 0.5)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_intra_sequence_contrast_has_no_gradient_through_the_target():
    model = SimMC(6, 4, 1, torch.Generator().manual_seed(0))
    x, labels = torch.randn(3, 5, 2, 3), torch.zeros(2, 3, dtype=torch.int64)
    masks = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]]).bool()
    found = model.losses(x, masks, labels, [torch.randn(2, 4)] * 2, 0.1, 0.5)["MIC"]
    v1, v2 = (model.encode(x)[:, mask].mean(dim=1) for mask in masks)
    u1, u2 = model.predictor(v1), model.predictor(v2)
    cosine = torch.nn.functional.cosine_similarity
    expected = -(cosine(u1, v2.detach()).mean() + cosine(u2, v1.detach()).mean()) / 2
    weight = model.encoder[0].weight
    for loss in (found, expected):
        assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    gradients = [torch.autograd.grad(loss, weight)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_mean_of_clusters_leaves_noise_out():
    features = torch.tensor([[1.0, 1.0], [3.0, 5.0], [7.0, 7.0], [100.0, 100.0]])
    for integer in (torch.int64, torch.int32, torch.int8):
        found = mean_of_clusters(features, torch.tensor([1, 1, 0, -1], dtype=integer))
        torch.testing.assert_close(found, torch.tensor([[7.0, 7.0], [2.0, 3.0]]))
    found = mean_of_clusters(features[:3], torch.tensor([1, 1, 0], dtype=torch.uint64))
    torch.testing.assert_close(found, torch.tensor([[7.0, 7.0], [2.0, 3.0]]))


def test_tightness_against_the_definition():
    rng = np.random.RandomState(0)
    features, persons = rng.normal(size=(40, 6)) + 1, rng.randint(0, 4, size=40)
    centres = np.stack([features[persons == c].mean(axis=0) for c in range(4)])

    def distance(a, b):
        return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    D = [[np.mean([distance(x, b) for x in features[persons == a]]) for b in centres]
         for a in range(4)]
    between = [[distance(a, b) for b in centres] for a in centres]
    found = tightness(torch.from_numpy(features), torch.from_numpy(persons))
    assert found["mACT"] == pytest.approx(np.mean(D) / np.mean(np.diag(D)))
    assert found["mRCL"] == pytest.approx(np.mean(between) / np.mean(D))


def test_bad_input():
    with pytest.raises(InputError, match=r"expected SimMC's variables.*found a/b"):
        SimMC.from_published({"a/b": np.zeros(3)})
    with pytest.raises(InputError, match="0 to 5 of 6 frames, found 6"):
        draw_masks(np.random.RandomState(0), 6, (2, 6))
