"""SGELA against numbers of the released code, and its contrastive loss against plain loops.

golden/sgela.npz: cases h32 (three axes), pred, sort, cve, h256 (axis x): windows in file order,
weights (all variables but the unused copies; h256: by `recipe`) and what the released code
computed. Of results every k-th number is kept (`thin`). meta: JSON, sizes and the names.
"""

import json
import math

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.age import AGE, AXES, CLIP, concatenated
from skeleton_reid.models.sgela import SGELA, contrast, pretext
from skeleton_reid.tensorflow_v1.published import SGELA_HEAD
from tests.reference.age import published_gradients, weights_of

CASES = ("h32", "pred", "sort", "cve", "h256")


def thin(values, at_most: int = 1000) -> np.ndarray:
    flat = np.asarray(values).ravel()
    return flat[::-(-flat.size // at_most)]


def recipe(meta: dict) -> np.ndarray:
    """The weights of case h256."""
    rng, parts = np.random.RandomState(meta["seed"] + 1), []
    for name, shape in meta["trainable"]:
        limit = 0.2 if name.endswith("bias") or name in ("b1", "Variable") else 0.08
        limit = 0.1 if name.endswith("lstm_cell/kernel") else limit
        limit = 0.3 if name.startswith("memory_layer") else limit
        if name in ("W1", "W"):
            parts.append(rng.normal(0, 1, shape) * 0.05)
        elif not name.startswith("lstm_weights"):
            parts.append(rng.uniform(-limit, limit, shape))
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


class Case:
    """A case of the golden file. Where it holds axis x alone, all three are that one."""
    def __init__(self, file: np.lib.npyio.NpzFile, name: str):
        self.file, self.name = file, name
        self.meta = json.loads(str(file["meta"]))[name]
        self.axes = self.meta["axes"]
        held = [axis if axis in self.axes else "x" for axis in AXES]
        columns = [torch.tensor(file[f"{name}/{axis}/windows"]) for axis in held]
        self.windows = torch.stack(columns, dim=3)
        if self.meta["script"].startswith("CVE"):  # joint 0 is the origin
            self.windows = self.windows - self.windows[:, :, :1]
        self.variables = {}
        for axis, source in zip(AXES, held, strict=True):
            stored = f"{name}/{source}/weights"
            flat = file[stored] if stored in file else recipe(self.meta)
            for variable, shape in self.meta["trainable"]:
                if not variable.startswith("lstm_weights"):
                    size = math.prod(shape)
                    self.variables[f"{axis}/{variable}"], flat = flat[:size].reshape(
                        shape), flat[size:]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.file[f"{self.name}/{name}"]

    def model(self) -> SGELA:
        how = {"attention": self.meta["att"], "temperature": self.meta["t"]}
        return SGELA.from_published(self.variables, count_copies=True, **how)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The first batch and its targets; the released frame orders differ by axis."""
        rng = np.random.RandomState(self.meta["seed"])
        inputs, targets = pretext(self.windows, self.meta["model"], rng)
        return inputs[:self.meta["B"]], targets[:self.meta["B"]]


@pytest.fixture(scope="module", params=CASES)
def case(request, golden) -> Case:
    return Case(np.load(golden("sgela.npz")), request.param)


def test_pretext_tasks(case):
    inputs, targets = case.batch()
    for number, axis in enumerate(case.axes):
        np.testing.assert_array_equal(thin(inputs[..., number]), case[f"{axis}/inputs"])
        np.testing.assert_array_equal(thin(targets[..., number]), case[f"{axis}/targets"])


def test_forward_and_losses(case):
    model, (inputs, targets) = case.model(), case.batch()
    out, losses = model.encode(inputs), model.losses(inputs, targets)
    names = {"recon": "reconstruction", "cage": "contexts", "projection": "projections"}
    for number, axis in enumerate(case.axes):
        for theirs, ours in names.items():
            expected = case[f"{axis}/{theirs}"]
            np.testing.assert_allclose(thin(out[ours][number].detach()), expected, atol=3e-6)
        alignment = out["alignment"][number].transpose(0, 1).detach()  # by step
        np.testing.assert_allclose(thin(alignment), case[f"{axis}/alignments"], atol=1e-6)
        terms = ["reconstruction", "contrastive"] + ["locality"] * (case.meta["att"] == "LA")
        for term in terms:
            expected = case[f"{axis}/{term}_loss"]
            assert losses[term][number].item() == pytest.approx(expected, rel=3e-6), term
        for term in ("l2", "total"):
            expected = case[f"{axis}/{term}"]
            assert losses[term][number].item() == pytest.approx(expected, rel=1e-5), term


def test_gradients_and_steps(case):
    """Clipped gradients, weights after one and three steps, losses on the way."""
    meta, model, (inputs, targets) = case.meta, case.model(), case.batch()
    optimizer, losses = TFAdam(model.parameters(), meta["lr"]), []
    for steps in (1, 2, 3):
        terms = model.losses(inputs, targets)
        losses.append([terms[n][0].item() for n in ("reconstruction", "contrastive", "total")])
        optimizer.zero_grad()
        terms["total"].sum().backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), CLIP)
        if steps == 1:
            gradients = published_gradients(model)
            for axis in case.axes:
                for (name, _), norm in zip(meta["trainable"], case[f"{axis}/grad_norms"],
                                           strict=True):
                    ours = np.linalg.norm(gradients[f"{axis}/{name}"])
                    assert ours == pytest.approx(norm, rel=1e-4), name
        optimizer.step()
        if steps != 2 and f"step{steps}" in meta:
            weights = weights_of(model)
            ours = [thin(weights[f"x/{name}"], 300) for name in meta[f"step{steps}"]]
            off = np.abs(np.concatenate(ours) - case[f"x/step{steps}"])
            assert off.max() < 5e-3 * meta["lr"]
    np.testing.assert_allclose(losses, case["x/step_losses"][:3, [0, 2, 3]], rtol=1e-5)


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("follows", [[1, 1, 1, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
def test_contrast_by_loops(copies, follows):
    """Every pair's two rows against a list of all rows, one sum at a time."""
    v = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = contrast(v, 0.3, torch.tensor(follows), copies)
    pairs = [i for i, there in enumerate(follows) if there]
    rows = [j for i in pairs for j in (i + 1, i)] if copies else []
    rows += [j for j in range(5) if j not in rows]
    for axis in range(3):
        z = v[axis] / v[axis].norm(dim=1, keepdim=True)
        terms = []
        for i in pairs:
            for a, b in ((i, i + 1), (i + 1, i)):
                others = list(rows)
                others.remove(a)
                total = sum(math.exp(float(z[a] @ z[j]) / 0.3) for j in others)
                terms.append(math.log(total) - float(z[a] @ z[b]) / 0.3)
        assert loss[axis].item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_batches_without_a_pair():
    model = SGELA(5, 4, 3)
    x = torch.randn(3, 3, 5, 3)
    for skeletons, follows in ((x[:1], None), (x, torch.zeros(2, dtype=torch.bool))):
        losses = model.losses(skeletons, follows=follows)
        losses["total"].sum().backward()
        assert losses["contrastive"].abs().max() == 0
        assert all(p.grad.isfinite().all() for p in model.parameters())


def test_windows_that_are_not_rebuilt():
    """Only their reconstruction is left out: as if they were rebuilt without an error."""
    model, x = SGELA(5, 4, 3), torch.randn(4, 3, 5, 3)
    targets = torch.randn(4, 3, 5, 3)
    some = model.losses(x, targets, rebuilt=torch.tensor([True, False, True, False]))
    every = model.losses(x, targets)
    kept = model.losses(x[::2], targets[::2])
    torch.testing.assert_close(some["reconstruction"], kept["reconstruction"])
    for term in ("locality", "contrastive", "l2"):
        torch.testing.assert_close(some[term], every[term])
    torch.testing.assert_close(
        model.losses(x, contrast_weight=2.5)["contrastive"], 2.5 * model.losses(x)["contrastive"])


def test_tasks():
    windows = torch.arange(24.0).view(4, 3, 2, 1)
    assert torch.equal(pretext(windows, "reconstruction")[1], windows)
    assert torch.equal(pretext(windows, "prediction")[1], windows[[1, 2, 3, 3]])
    shuffled, targets = pretext(windows, "sorting", np.random.RandomState(3))
    assert torch.equal(shuffled.sort(dim=1).values, targets) and not torch.equal(shuffled, targets)
    orders = {tuple(window[:, 0, 0].argsort().tolist()) for window in shuffled}
    assert len(orders) > 1  # one a window


def test_it_is_age_with_a_head():
    """The same features, initial values and loss terms; Rev. Rec. Plus has models side by side."""
    ours = SGELA(20, 16, 6, generator=torch.Generator().manual_seed(2))
    age = AGE(20, 16, generator=torch.Generator().manual_seed(2))
    x = torch.randn(3, 6, 20, 3)
    out, losses = ours.encode(x), ours.losses(x)
    for name, value in age.encode(x).items():
        assert torch.equal(out[name], value)
    for name in ("reconstruction", "locality"):
        assert torch.equal(losses[name], age.losses(x)[name])
    heads = {name: value for name, value in ours.state_dict().items() if name in SGELA_HEAD}
    assert {tuple(v.shape) for v in heads.values()} == {(3, 16, 96), (3, 16), (3, 16, 16)}
    assert heads["head.hidden.weight"].std() == pytest.approx(1, abs=0.05)
    assert concatenated(out["encodings"]).shape == (3, 6 * 48)
    again = SGELA(**ours.arguments)
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again.encode(x)["projections"], out["projections"])


def test_every_parameter_has_a_gradient():
    model = SGELA(14, 8, 4)
    model.losses(torch.randn(5, 4, 14, 3))["total"].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_published_size():
    """8.47 M with the copies; with SimMC on 768 numbers a frame 8.80 M."""
    size = sum(p.numel() for p in SGELA(20, count_copies=True).parameters())
    assert size == 8_474_172 and round((size + 256 * 768 + 256 + 2 * 65_792) / 1e6, 2) == 8.80


def test_wrong_use():
    with pytest.raises(InputError, match="no variable 'x/W1'"):
        SGELA.from_published({})
