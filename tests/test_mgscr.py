"""MG-SCR against numbers of the released code, and against plain loops.

golden/mgscr_KS20.npz, mgscr_IAS.npz: made-up inputs x_*, weights (all variables, in the order of
`variables`, a JSON list of names and shapes) and what the released code computed from them. Of
results every k-th number is kept (`thin`).
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.sampling import draw_subsets, training_order
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.mgscr import MGSCR, PAIRS, tiled
from skeleton_reid.models.prefix_lstm import take
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.models.smsge import relation
from skeleton_reid.reid.recognition import evaluate
from train_mgscr import EndToEnd

FORWARD = 1e-5  # absolute; losses: relative
GRADIENT = 1e-4  # of all gradients' norm
LEVELS = "JPB"


class Golden:
    """One golden file and its model."""
    def __init__(self, path: Path):
        self.file = np.load(path)
        self.cfg = json.loads(str(self.file["cfg"]))
        self.shapes = dict(json.loads(str(self.file["variables"])))
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])[:-1]
        parts = np.split(self.file["weights"], ends)
        self.variables = {
            name: part.reshape(shape)
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }
        self.graphs = {level: torch.tensor(self[f"x_{level}"]) for level in LEVELS}
        self.labels = torch.tensor(self["y"]).long()
        self.readings = [tiled(subset, len(self.labels)) for subset in self.cfg["subsets"]]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.file[name]

    def model(self) -> MGSCR:
        return MGSCR.from_published(self.variables, self.cfg["c_lambda"], frames="tiled")

    def flat(self, model: MGSCR) -> np.ndarray:
        """A model's numbers in the order of the file."""
        arrays = {
            name: np.concatenate([part.detach().numpy().ravel() for part in parts])
            for name, parts in model._published()
        }
        assert arrays.keys() == self.shapes.keys()
        return np.concatenate([arrays[name] for name in self.shapes])


@pytest.fixture(scope="module", params=["KS20", "IAS"])
def released(request, golden) -> Golden:
    return Golden(golden(f"mgscr_{request.param}.npz"))


def thin(values, at_most: int = 1000) -> np.ndarray:
    flat = np.asarray(values).ravel()
    return flat[::-(-flat.size // at_most)]


def close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(thin(ours.detach()), theirs, rtol=0, atol=FORWARD)


def test_features_and_relations(released):
    model = released.model()
    H, nodes = model.structural(released.graphs), model.nodes(released.graphs)
    for level in LEVELS:
        close(H[level], released[f"h_{level}"])
        close(nodes[level], released[f"fused_{level}"])
        alpha = model.structure[level].dense(released.graphs[level][:1, :2])[1]
        close(alpha[0].transpose(0, 1), released[f"attention_{level}"])
    for coarse, fine in PAIRS:
        close(relation(H[coarse], H[fine])[0, :2], released[f"relation_{coarse}{fine}"])


def test_frames_that_are_read(released):
    """The released index lists; in order when B = 1."""
    read = np.concatenate([reading.ravel() for reading in released.readings])
    np.testing.assert_array_equal(read, released["read"])
    tree = released.model().prefixes(released.graphs)
    prefixes = [tree.frames[passed].T for passed in tree.passes]
    np.testing.assert_array_equal(np.concatenate([p.ravel() for p in prefixes]),
                                  released["prefixes"])
    for b in range(5):
        for p, frame in enumerate((1, 2, 4)):
            assert tiled([1, 2, 4], 5)[b, p] == (1, 2, 4)[(3 * b + p) // 5]
            assert tiled([1, 2, 4], 1)[0, p] == frame


def test_prediction(released):
    model = released.model()
    outputs, tree = model.read(released.graphs, released.readings)
    each = [thin(outputs[passed].transpose(0, 1).detach(), 200) for passed in tree.passes]
    np.testing.assert_allclose(np.concatenate(each), released["read_outputs"], atol=FORWARD)
    predicted = model.prediction(outputs)
    each = [thin(predicted[passed].transpose(0, 1).detach(), 200) for passed in tree.passes]
    np.testing.assert_allclose(np.concatenate(each), released["predicted"], atol=1e-4)
    losses = model.losses(released.graphs, released.readings)
    np.testing.assert_allclose(losses["each"].detach(), released["losses"], rtol=FORWARD)
    assert losses["total"].item() == pytest.approx(released["loss_pretraining"], rel=FORWARD)


def test_recognition(released):
    model = released.model()
    states = model.states(released.graphs, model.prefixes(released.graphs))
    close(states.transpose(0, 1), thin(released["en_to_pred"]))
    scores = model.scores(released.graphs)
    np.testing.assert_allclose(scores.detach(), released["sum_logits"], rtol=0, atol=5e-5)
    losses = recognition_losses(model, released.graphs, released.labels)
    for ours, theirs in {"cross_entropy": "cross_entropy", "l2": "l2",
                         "total": "loss_total"}.items():
        assert losses[ours].item() == pytest.approx(released[theirs], rel=FORWARD)
    metrics = evaluate(scores.detach(), released.labels)
    assert metrics["rank1"] == pytest.approx(released["accuracy"])
    assert metrics["nAUC_roc"] == pytest.approx(released["nAUC"])


def recognition_losses(model: MGSCR, graphs, labels) -> dict:
    """Of graphs that are made up, and no skeleton's; everything decays."""
    whole = EndToEnd(model, True, len(labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "graphs", lambda rows: rows)
        return whole.losses(graphs, labels)


def step(model: MGSCR, optimizer: TFAdam, released: Golden, phase: str) -> float:
    """One step of a phase on the golden batch; its loss."""
    if phase == "pre":
        losses = model.losses(released.graphs, released.readings)
    else:
        losses = recognition_losses(model, released.graphs, released.labels)
    optimizer.zero_grad()
    losses["total"].backward()
    optimizer.step()
    return losses["total"].item()


@pytest.mark.parametrize("phase", ["pre", "total"])
def test_gradients_and_steps(released, phase):
    model, lr = released.model(), released.cfg["lr"]
    optimizer = TFAdam(model.parameters(), lr)
    losses = [step(model, optimizer, released, phase)]
    gradients = copy.deepcopy(model)
    for ours, trained in zip(gradients.parameters(), model.parameters(), strict=True):
        ours.data = torch.zeros_like(ours) if trained.grad is None else trained.grad.clone()
    theirs = released[f"g_{phase}"]
    error = thin(released.flat(gradients), 6000) - theirs
    assert np.linalg.norm(error) < GRADIENT * np.linalg.norm(theirs)
    parts = dict(gradients._published())
    norms = [
        torch.cat([p.flatten() for p in parts[name]]).norm().item() for name in released.shapes
    ]
    expected = released[f"gradnorm_{phase}"].clip(min=0)  # -1: none
    np.testing.assert_allclose(norms, expected, rtol=1e-3, atol=1e-3)
    clear = np.abs(theirs) > 1e-4  # where Adam's epsilon does not show
    assert clear.mean() > 0.3

    def compare(steps: int) -> None:
        off = np.abs(thin(released.flat(model), 6000) - released[f"after_{phase}{steps}"])
        assert off[clear].max() < 2e-3 * lr

    compare(1)
    losses += [step(model, optimizer, released, phase) for _ in range(2)]
    compare(3)
    np.testing.assert_allclose(losses, released[f"losses_{phase}"], rtol=FORWARD)


def test_a_step_of_each_phase(released):
    model, lr = released.model(), released.cfg["lr"]
    for phase in ("pre", "total"):
        step(model, TFAdam(model.parameters(), lr), released, phase)
    scores = model.scores(released.graphs)
    losses = recognition_losses(model, released.graphs, released.labels)
    assert losses["total"].item() == pytest.approx(released["pre_then_rec_loss"], rel=1e-4)
    logits = released["pre_then_rec_logits"]
    np.testing.assert_allclose(scores.detach(), logits, atol=1e-3 * np.abs(logits).max())


def test_training_order(released):
    """Resampled to equal class shares, without the permutation."""
    cfg = released.cfg
    rng = np.random.RandomState(cfg["loader_seed"])
    order = training_order(released["loader_labels_stored"], cfg["loader_batch"], rng,
                           shuffle=False)
    np.testing.assert_array_equal(order, released["loader_order"])


def test_subsets(released):
    """k = 1 ... f-1 frames of those that have a next one."""
    subsets = draw_subsets(np.random.RandomState(0), released.cfg["f"], pred_margin=1)
    assert [len(subset) for subset in subsets] == [len(s) for s in released.cfg["subsets"]]
    assert max(subset.max() for subset in subsets) < released.cfg["f"] - 1


@pytest.mark.parametrize("joints", [14, 20, 25])
def test_fresh_model(joints):
    model = MGSCR(joints, 16, 5, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 6, joints, 3, generator=torch.Generator().manual_seed(2))
    graphs = model.graphs(x)
    assert model.encode(x).shape == (3, 6, 8 * joints)
    scores = model.scores(graphs)
    assert scores.shape == (3, 5)
    losses = [model.losses(graphs, [[0], [0, 2], [0, 2, 4]])["total"]]
    losses.append(EndToEnd(model, False, 3).losses(x, torch.tensor([0, 4, 2]))["total"])
    sum(losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    again = MGSCR(joints, **model.arguments)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.scores(graphs), scores)


def test_joints_get_their_part_and_body():
    """F_j = H_j + lambda (P'_part(j) + B'_body(j)), joint by joint."""
    model = MGSCR(20, 8, c_lambda=0.4)
    graphs = model.graphs(torch.randn(2, 3, 20, 3))
    F, H = model.nodes(graphs), model.structural(graphs)["J"]
    parts = [list(part) for part in model.skeleton.parts.values()]
    bodies = [list(body) for body in model.skeleton.bodies.values()]
    for j, joint in enumerate(model.skeleton.joints):
        P = F["P"][:, :, next(n for n, part in enumerate(parts) if joint in part)]
        B = F["B"][:, :, next(n for n, body in enumerate(bodies) if joint in body)]
        torch.testing.assert_close(F["J"][:, :, j], H[:, :, j] + 0.4 * (P + B))
    model.c_lambda = 0.0
    torch.testing.assert_close(model.nodes(graphs)["J"], H)


def test_readings_alone_together_and_by_row():
    """The prefix tree, one reading at a time, and gathered frames of each row are the same."""
    model = MGSCR(20, 8)
    graphs = model.graphs(torch.randn(4, 6, 20, 3))
    readings = [[0, 2, 3], [0, 2], [1, 2, 3, 4]]
    together, losses = model.states(graphs, readings), model.losses(graphs, readings)
    rows = [np.tile(reading, (4, 1)) for reading in readings]
    torch.testing.assert_close(model.states(graphs, rows), together)
    torch.testing.assert_close(model.losses(graphs, rows)["each"], losses["each"])
    for number, reading in enumerate(readings):
        torch.testing.assert_close(model.states(graphs, [reading])[:, 0], together[:, number])
    halves = [{level: x[rows] for level, x in graphs.items()} for rows in (slice(2), slice(2, 4))]
    parts = [model.losses(part, readings, batch=4)["total"] for part in halves]
    torch.testing.assert_close(sum(parts) / 2, losses["total"])
    x = torch.arange(24.0).view(6, 2, 2)
    assert torch.equal(take(x, torch.tensor([[1, 0], [5, 5]])), x[[[1, 0], [5, 5]], [0, 1]])


def test_place_in_the_batch_changes_tiled_scores_alone():
    model, other = MGSCR(20, 8, 4), MGSCR(20, 8, 4, frames="tiled")
    graphs = model.graphs(torch.randn(5, 6, 20, 3))
    turned = {level: x.roll(1, dims=0) for level, x in graphs.items()}
    torch.testing.assert_close(model.scores(turned), model.scores(graphs).roll(1, dims=0))
    assert not torch.allclose(other.scores(turned), other.scores(graphs).roll(1, dims=0))


def test_prefixes_and_features():
    x = torch.randn(2, 6, 20, 3)
    seen, whole = MGSCR(20, 8, feature="state"), MGSCR(20, 8, feature="state", prefixes="f")
    graphs = seen.graphs(x)
    assert seen.prefixes(graphs).passes.sum(dim=1).tolist() == [1, 2, 3, 4, 5]
    assert whole.prefixes(graphs).passes.sum(dim=1).tolist() == [1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(seen.encode(x), seen.states(graphs, [range(5)]))
    torch.testing.assert_close(whole.encode(x), whole.states(graphs, [range(6)]))
    assert seen.encode(x).shape == (2, 1, 8)


def test_size_and_decay():
    """347,759 parameters as published, 64 of them unused; SimMC on F has 530,799 with them."""
    model = MGSCR(25, 128, 20)
    as_released = MGSCR(25, 128, 20, unused_relation=True)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (model, as_released)]
    assert sizes == [347_759 - 64, 347_759]
    simmc = SimMC(8 * 25)  # on the nodes of a frame
    assert sizes[1] + sum(p.numel() for p in simmc.parameters()) == 530_799
    head = sum(p.square().sum() for p in model.prediction.parameters()) / 2
    torch.testing.assert_close(model.weight_decay(unread=False) + head, model.weight_decay())


def test_initial_values():
    model = MGSCR(25, 64, 20, generator=torch.Generator().manual_seed(5))
    normal = [model.prediction.W_1, model.prediction.W_2, *model.relation.values()]
    normal += [model.recogniser.hidden.weight, *(model.structure[n].W_in for n in LEVELS)]
    for matrix in normal:
        assert 0.7 < matrix.std() < 1.3
    assert model.dynamics.into_first[0].abs().max() <= (6 / (200 + 5 * 64))**0.5
    same = MGSCR(25, 64, 20, generator=torch.Generator().manual_seed(5))
    other = MGSCR(25, 64, 20, generator=torch.Generator().manual_seed(6))
    assert torch.equal(same.recogniser.output.weight, model.recogniser.output.weight)
    assert not torch.equal(other.recogniser.output.weight, model.recogniser.output.weight)


def test_wrong_use(released):
    with pytest.raises(InputError, match="joints, found 17"):
        MGSCR(17)
    with pytest.raises(InputError, match="no variable 'Prediction"):
        MGSCR.from_published({})
