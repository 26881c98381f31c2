"""TranSG and MoCos against numbers of the released code (golden/transg_*, mocos_*), and by
themselves.
"""

import copy

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import get, motifs, positions
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.mocos import MoCos
from skeleton_reid.models.transg import ERRORS, TranSG
from tests.flat import Golden, split

MODELS = {"transg": TranSG, "mocos": MoCos}
# Their gradients are rounding noise, which Adam turns into steps of lr.
NOISE = ("dense_3/bias", "dense_5/bias")


class Mask(nn.Module):
    """Dropout with a given mask."""
    def forward(self, x):
        return 2 * self.mask * x


class Released(Golden):
    """A golden file of TranSG or MoCos, its model with the dropout of the released steps."""
    def losses(self, step):
        transformer = self.model.transformer
        for name in ("dropout_1", "dropout_2"):
            if not isinstance(getattr(transformer, name), Mask):
                setattr(transformer, name, Mask())
            shape = self.meta[name]
            bits = np.unpackbits(self[name])[:np.prod(shape)].reshape(shape)[step]
            getattr(transformer, name).mask = torch.from_numpy(bits)
        masks = (self.tensor(name)[step] for name in ("seq_masks", "node_masks"))
        place = self.tensor("positions") * self.tensor("signs")[step]
        return self.model.train().losses(self.tensor("X"), self.tensor("labels"),
                                         self.tensor("prototypes"), *masks, place,
                                         **self.meta["options"])

    def flat(self, of):
        taken = copy.deepcopy(self.model)
        for copied, own in zip(taken.parameters(), self.model.parameters(), strict=True):
            copied.data = of(own).detach().clone()
        found = dict(taken.published())
        return np.concatenate([found[name].detach().flatten() for name in self.shapes])

    def compared(self):
        """Which of the kept numbers are more than rounding noise."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        noise = [
            n.endswith(NOISE) or top < 1e-4 * self["largest"].max()
            for n, top in zip(self.shapes, self["largest"], strict=True)
        ]
        largest = self.kept(np.repeat(self["largest"], sizes))
        return ~self.kept(np.repeat(noise, sizes)), largest


@pytest.fixture(params=["transg_IAS", "transg_KS20", "mocos_IAS", "mocos_KS20"])
def released(request, golden):
    model = MODELS[request.param.partition("_")[0]]
    return Released(golden(f"{request.param}.npz"), model)


def close(found, expected, share):
    """Within this share of the largest value."""
    np.testing.assert_allclose(found.detach(), expected, rtol=0,
                               atol=share * np.abs(expected).max())


def test_features_and_attention(released):
    x, place = released.tensor("X"), released.tensor("positions")
    with torch.no_grad():
        close(released.model.eval().encode(x, place).mean(dim=1), released["feature"], 1e-5)
        _, weights = released.model.transformer(x[:1, :2], place)
    found = torch.stack(weights)[:, 0].transpose(1, 2)  # (layers, heads, 2 frames, J, J)
    close(found, released["attention"], 3e-5)


def test_losses_gradients_and_steps(released):
    optimizer = TFAdam(released.model.parameters(), released.meta["lr"])
    counts, largest = released.compared()
    chaotic = "after3" not in released.arrays  # clamped scores, large logits
    for step in range(3):
        losses = released.losses(step)
        for name, loss in losses.items():
            expected = released[f"loss/{name}"][step]
            rel = (2e-6, 1e-4, 2e-3)[step] if chaotic else 2e-6
            assert loss.item() == pytest.approx(expected, rel=rel), (step, name)
        optimizer.zero_grad()
        losses["total"].backward()
        if step == 0:
            wrong = np.abs(released.kept(released.flat(lambda p: p.grad)) - released["g"])
            assert (wrong <= (2e-3 if chaotic else 1e-3) * largest)[counts].all()
        optimizer.step()
        if f"after{step + 1}" in released.arrays:
            wrong = np.abs(released.kept(released.flat(lambda p: p)) - released[f"after{step + 1}"])
            counts &= np.abs(released["g"]) > 1e-4 * largest
            assert (wrong <= 0.01 * released.meta["lr"])[counts].all()


@pytest.mark.parametrize("name", ["transg_IAS", "mocos_IAS"])
def test_features_after_steps(golden, name):
    released = Released(golden(f"{name}.npz"), MODELS[name.partition("_")[0]])
    variables = split(released["after3"], released.shapes)
    model = type(released.model).from_published(variables).eval()
    features = model.encode(released.tensor("X"), released.tensor("positions")).mean(dim=1)
    close(features, released["feature_after3"], 1e-5)


def test_twins_have_no_effect_and_missing_variables_are_named(released):
    model, method = released.model, type(released.model).__name__
    twin = {f"{method}/{method}/Variable_3/Initializer/Variable": np.zeros((1, 1))}
    again = type(model).from_published(released.variables | twin)
    for own, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(own, other)
    del released.variables[f"{method}/dense_4/bias"]
    with pytest.raises(InputError, match="dense_4/bias"):
        type(model).from_published(released.variables)


def test_canonical_positions(golden):
    with np.load(golden("transg_positions.npz")) as file:
        for nodes, scale in ((25, "J"), (20, "J"), (14, "J"), (10, "P"), (5, "B")):
            joints = nodes if scale == "J" else 20
            np.testing.assert_allclose(positions(joints, 10, scale), file[f"canonical_{nodes}"],
                                       rtol=0, atol=1e-12)
    assert positions(20, 0).shape == (20, 0)


def test_positions_of_lapack_are_another_basis():
    found, canonical = positions(20, 10, basis="lapack"), positions(20, 10)
    assert np.abs(found - canonical).max() > 0.01
    # The eigenvectors 2 and 3, of one eigenvalue, span the same plane.
    np.testing.assert_allclose(np.linalg.norm(canonical[:, 1:3].T @ found[:, 1:3], axis=0), 1)


@pytest.mark.parametrize("joints", [20, 25, 14])
def test_motifs(joints):
    skeleton, found = get(joints), motifs(joints)
    distance = np.full((joints, joints), 9)
    for source in range(joints):  # a walk along the bones
        distance[source, source], front = 0, [source]
        while front:
            here = front.pop(0)
            for bone in skeleton.bone_numbers():
                for a, b in (bone, bone[::-1]):
                    if a == here and distance[source, b] == 9:
                        distance[source, b] = distance[source, here] + 1
                        front.append(b)
    for order in (1, 2, 3):
        expected = (distance <= order) & (distance > 0)
        if joints == 20 and order == 3:
            assert expected[0, 4] and expected[0, 8] and expected[4, 0]
            expected[0, [4, 8]] = False
        np.testing.assert_array_equal(found[order], expected)
    arms = {20: range(4, 12), 25: [*range(4, 12), *range(21, 25)], 14: range(2, 8)}[joints]
    legs = range(8, 14) if joints == 14 else range(12, 20)
    for number, rows in ((4, arms), (5, legs)):
        for row in range(joints):
            seen = {*arms, *legs} - {row} if row in rows else set()
            assert set(np.flatnonzero(found[number][row])) == seen


def test_motifs_need_arms_and_legs():
    skeleton = msgspec.structs.replace(get(20), bodies={})
    with pytest.raises(InputError, match="left_arm"):
        motifs(skeleton)


def test_attention_of_one_head():
    """Against loops over frames and nodes."""
    torch.manual_seed(0)
    model = MoCos(20, H=12, n_heads=6, layers=1, motif="mask").eval()
    x = torch.randn(2, 3, 20, 3)
    with torch.no_grad():
        h = model.transformer.embedding(x) + model.transformer.position(model.positions)
        _, (weights,) = model.transformer(x, model.positions)
        for head in range(6):
            Q, K, _ = (h[1, 2] @ W for W in model.transformer.QKV[0, head])
            motif = motifs(20).get(head, np.ones((20, 20)))
            for i in range(20):
                seen = [j for j in range(20) if motif[i, j]]
                scores = [max(-5, min(5, float(Q[i] @ K[j]) / 2**0.5)) for j in seen]
                scores, seen = (scores, seen) if seen else ([0.0] * 20, range(20))
                expected = torch.zeros(20)
                expected[list(seen)] = torch.tensor(scores).softmax(dim=0)
                torch.testing.assert_close(weights[1, 2, head, i], expected, atol=1e-6, rtol=0)


def test_sizes():
    assert sum(p.numel() for p in TranSG(25, 6).parameters()) == 268_061
    assert sum(p.numel() for p in MoCos(25).parameters()) == 232_448


def test_fresh_models_are_seeded():
    first, again, other = (TranSG(20, 6, H=16, generator=torch.Generator().manual_seed(seed))
                           for seed in (0, 0, 1))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.F_1, other.F_1)


@pytest.mark.parametrize("running", [False, True])
def test_batch_norm_of_evaluation(running):
    torch.manual_seed(0)
    model = TranSG(20, 6, H=16, batch_norm="running" if running else "frozen")
    x = torch.randn(4, 6, 20, 3)
    before = model.eval().encode(x)
    model.train().encode(x)
    assert torch.equal(before, model.eval().encode(x)) == (not running)
    assert torch.equal(model.transformer.norm_1.running_var, torch.ones(16)) == (not running)


def test_no_positions():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 20, 3)
    x[:, :, 5] = x[:, :, 9]
    for k in (0, 10):
        model = TranSG(20, 2, H=16, k=k).eval()
        nodes, _ = model.transformer(x, model.positions)
        assert torch.allclose(nodes[:, :, 5], nodes[:, :, 9]) == (k == 0)


@pytest.mark.parametrize(("level", "nodes"), [("P", 10), ("B", 5)])
def test_levels(level, nodes):
    model = TranSG(25, 6, H=16, level=level)
    assert model.positions.shape == (nodes, nodes - 1)
    mask = torch.arange(nodes) > 1
    losses = model.losses(torch.randn(4, 6, 25, 3), torch.tensor([0, 1, 1, 0]), torch.randn(2, 16),
                          torch.arange(6) > 1, mask)
    losses["total"].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_prompts():
    """l1, MSE: once more divided by B; l2: half the sum by B; without T_prompt no weights."""
    a, b = torch.tensor([[[1.0, -2.0]], [[3.0, 0.0]]]), torch.zeros(2, 1, 2)
    found = {kind: error(a, b).item() for kind, error in ERRORS.items()}
    assert found == {"l1": 6 / 4, "MSE": 14 / 4, "l2": 14 / 2, "0": 0}
    model = TranSG(20, 6, H=16).eval()
    inputs = (torch.randn(2, 6, 20, 3), torch.tensor([0, 1]), torch.randn(2, 16), torch.arange(6)
              > 1, torch.arange(20) > 9)
    losses = model.losses(*inputs, T_prompt="0", prompt_lambda=0.3)
    assert losses["STPR"] == losses["structure"]
    losses = model.losses(*inputs, prompt_lambda=0.3)
    expected = 0.3 * losses["structure"] + 0.7 * losses["trajectory"]
    torch.testing.assert_close(losses["STPR"], expected)
    nodes = model.relate(inputs[0])[1].mean(dim=2)  # all frames and nodes are kept below
    for kind, error in ERRORS.items():
        every = torch.ones(6, dtype=bool), torch.ones(20, dtype=bool)
        losses = model.losses(*inputs[:3], *every, S_prompt=kind)
        rebuilt, target = model.structure(nodes), inputs[0].flatten(2)
        torch.testing.assert_close(losses["structure"], error(rebuilt, target) / 2)


def test_the_first_skeletons_tell_mocos_its_own(golden):
    released = Released(golden("mocos_IAS.npz"), MoCos)
    assert released.model.positions is None
    features = released.model.eval().encode(released.tensor("X"))
    assert torch.equal(released.model.positions, torch.tensor(positions(20)).float())
    arguments = released.model.arguments
    again = MoCos(20, **arguments)
    again.load_state_dict(released.model.state_dict())
    torch.testing.assert_close(again.eval().encode(released.tensor("X")), features)


def test_bad_sizes():
    with pytest.raises(InputError, match="multiple of the 8 heads, found 20"):
        TranSG(20, 6, H=20)
    with pytest.raises(InputError, match="at least 6, found 4"):
        MoCos(20, n_heads=4)
