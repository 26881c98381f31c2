"""SM-SGE: fresh models, options, and the fast computations against the plain ones of
tests.reference.smsge.
"""

import copy

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.sampling import draw_subsets
from skeleton_reid.data.skeleton import bias, scales
from skeleton_reid.models.graph_attention import GraphAttention
from skeleton_reid.models.prefix_lstm import prefix_tree
from skeleton_reid.models.smsge import SMSGE, relation
from tests.reference import smsge as plain
from train_smsge import JointStep

SCALES = "IJPB"


def random_graphs(joints: int, B: int = 3, f: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    return scales(torch.randn(B, f, joints, 3, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("joints", [14, 20, 25])
def test_forward_and_backward(joints):
    model = SMSGE(joints, 16, generator=torch.Generator().manual_seed(1))
    graphs = random_graphs(joints)
    nodes = {"I": 2 * joints - 1, "J": joints, "P": 10, "B": 5}
    structural, fused = model.structural(graphs), model.nodes(graphs)
    attention = {scale: layer.dense(graphs[scale])[1] for scale, layer in model.structure.items()}
    for scale, n in nodes.items():
        assert fused[scale].shape == structural[scale].shape == (3, 4, n, 8)
        assert attention[scale].shape == (3, 4, 8, n, n)
        torch.testing.assert_close(attention[scale].sum(-1), torch.ones(3, 4, 8, n))
        near = torch.tensor(bias(scale, joints) == 0)
        assert (attention[scale][..., ~near] == 0).all()
        assert (attention[scale][..., near] > 0).all()
    assert relation(structural["I"], structural["P"]).shape == (3, 4, nodes["I"], 10)
    assert model.states(graphs).shape == (3, 4, 64) and model.states(graphs, 5).shape == (3, 5, 64)
    losses = model.losses(graphs, draw_subsets(np.random.RandomState(0), 4))
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("joints, options", [(14, {}), (20, {"struct_only": True}), (25, {}),
                                             (20, {"scales": "JB"})])
def test_fast_equals_plain(joints, options):
    """Subsets as a tree against one LSTM call each, neighbours against dense attention: losses,
    then weights.
    """
    model = SMSGE(joints, 16, generator=torch.Generator().manual_seed(2), **options)
    slow = copy.deepcopy(model)
    rng = np.random.RandomState(3)
    quick, reference = JointStep(model, 1e-3), plain.PlainStep(slow, 1e-3)
    for seed in range(3):
        graphs, subsets = (random_graphs(joints,
                                         seed=seed), draw_subsets(rng, 4, sample_num=2,
                                                                  bi=seed == 2))
        expected = plain.losses(slow, graphs, subsets)
        reference(graphs, subsets)
        for scale, loss in quick(graphs, subsets).items():
            assert loss.item() == pytest.approx(expected[scale].item(), rel=1e-5)
    for (name, ours), theirs in zip(model.named_parameters(), slow.parameters(), strict=True):
        # Where a gradient is near TensorFlow's epsilon the order of summation shows, by less than
        # the rate.
        off = (ours - theirs).abs().detach()
        assert off.quantile(0.98) < 1e-5 and off.max() < 2e-3, name


def test_joint_step_takes_the_gradients_of_each_loss():
    model = SMSGE(20, 16)
    graphs, subsets = random_graphs(20), [[0, 2], [0, 1, 3]]
    by_loss = plain.gradients(model, model.losses(graphs, subsets))
    step = JointStep(model, 1e-3)
    step(graphs, subsets)
    for name, parameter in model.named_parameters():
        apart = {scale: by_loss[scale].get_parameter(name) for scale in SCALES}
        if name.startswith("structure"):
            for scale in SCALES[:SCALES.index(name.split(".")[1]) + 1]:
                average = step.optimisers[scale].state[parameter]["exp_avg"]  # of one step
                torch.testing.assert_close(average / 0.1, apart[scale].data, rtol=1e-4, atol=1e-7)
        else:  # only one loss reaches an element
            assert (torch.stack([gradient != 0 for gradient in apart.values()]).sum(0) <= 1).all()
            torch.testing.assert_close(parameter.grad, sum(g.data for g in apart.values()),
                                       rtol=1e-4, atol=1e-7)


def test_joint_step_goes_on_from_its_state():
    graphs, subsets = random_graphs(20), [[0, 2], [0, 1, 3]]
    one = SMSGE(20, 8)
    step = JointStep(one, 1e-3)
    step(graphs, subsets)
    two = copy.deepcopy(one)
    again = JointStep(two, 1e-3)
    for scale, optimiser in again.optimisers.items():
        optimiser.load_state_dict(copy.deepcopy(step.optimisers[scale].state_dict()))
    step(graphs, subsets), again(graphs, subsets)
    for ours, theirs in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("joints", [14, 20, 25])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("options", [{}, {"n_hood": 2}, {"global_att": True}])
def test_attention_over_neighbours_is_the_dense_definition(joints, scale, options):
    """Values and gradients, in float64 so that the order of summation does not show."""
    generator = torch.Generator().manual_seed(joints)
    layer = GraphAttention(bias(scale, joints, **options), heads=3, hidden=4).double()
    for parameter in layer.parameters():
        parameter.data.normal_(generator=generator)
    nodes = len(layer.bias)
    x = torch.randn(2, 3, nodes, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, nodes, 4, generator=generator, dtype=torch.float64)
    fast, (dense, alpha) = layer(x), layer.dense(x)
    torch.testing.assert_close(fast, dense)
    assert ((alpha > 0) == torch.tensor(bias(scale, joints, **options) == 0)).all()
    of = [x, *layer.parameters()]
    expected = torch.autograd.grad((dense * weights).sum(), of)
    for ours, theirs in zip(torch.autograd.grad((fast * weights).sum(), of), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_initial_values():
    """As released: plain matrices N(0, 1), attention and LSTM kernels Glorot-uniform, biases 0."""
    model = SMSGE(25, 64, generator=torch.Generator().manual_seed(5))
    names = [name for name, _ in model.named_parameters()]
    normal = [n for n in names if n.endswith(("W_in", "W_1", "W_2")) or n.startswith("relation")]
    drawn = torch.cat([model.get_parameter(name).flatten() for name in normal])
    assert abs(drawn.mean()) < 0.01 and abs(drawn.std() - 1) < 0.01 and drawn.abs().max() > 3.5
    D, first = 64, 49 * 8
    uniform = {
        "structure.J.W": (6 / 16)**0.5, "structure.P.a": (6 / 9)**0.5,
        "dynamics.into_first.0": (6 / (first + 5 * D))**0.5,
        "dynamics.into_second": (6 / (6 * D))**0.5, "dynamics.recurrent.1": (6 / (6 * D))**0.5
    }
    for name, limit in uniform.items():
        values = model.get_parameter(name)
        assert values.abs().max() <= limit
        assert values.abs().mean().item() == pytest.approx(limit / 2, rel=0.15)
    recurrent = model.dynamics.recurrent[0][0]  # one matrix with the input kernel
    assert recurrent.abs().max().item() == pytest.approx(uniform["dynamics.into_first.0"], rel=1e-3)
    biases = set(names) - set(normal) - {n for n in names if n.endswith((".W", ".a"))}
    biases = {n for n in biases if "into" not in n and "recurrent" not in n}
    assert len(biases) == 4 * 3 + 2 + 20 and all(
        (model.get_parameter(n) == 0).all() for n in biases)
    again = SMSGE(25, 64, generator=torch.Generator().manual_seed(5))
    other = SMSGE(25, 64, generator=torch.Generator().manual_seed(6))
    assert torch.equal(again.relation["IJ"], model.relation["IJ"])
    assert not torch.equal(other.relation["IJ"], model.relation["IJ"])


def test_size():
    """The published KS20 setting: 5,729,619 variables less 1,070,100 of the recogniser and the 64
    unused.
    """
    assert sum(p.numel() for p in SMSGE(25).parameters()) == 5_729_619 - 1_070_100 - 64


# ---- options


def test_struct_only_is_a_fusion_coefficient_of_zero():
    without, with_zero = SMSGE(20, 8, struct_only=True), SMSGE(20, 8, fusion_lambda=0.0)
    with_zero.load_state_dict(without.state_dict(), strict=False)
    graphs = random_graphs(20)
    assert not without.relation
    for scale, x in without.nodes(graphs).items():
        torch.testing.assert_close(x, with_zero.nodes(graphs)[scale])


def test_without_structural_relations_nodes_are_the_linear_embedding():
    model = SMSGE(20, 8, embedding_only=True, struct_only=True)
    graphs = random_graphs(20)
    for scale, x in model.nodes(graphs).items():
        layer = model.structure[scale]
        torch.testing.assert_close(x, graphs[scale] @ layer.weight.T + layer.bias)
    JointStep(model, 1e-3)(graphs, [[0, 2]])


def test_without_cross_scale_inference_a_scale_rebuilds_itself():
    whole, same = SMSGE(20, 8), SMSGE(20, 8, same_scale=True)
    assert list(same.head) == ["II", "JJ", "PP", "BB"]
    same.load_state_dict({name: whole.state_dict()[name] for name in same.state_dict()})
    graphs, subsets = random_graphs(20), [[0, 2], [0, 1, 3]]
    for scale, loss in same.losses(graphs, subsets).items():
        term = whole.loss_terms(graphs, subsets)[scale][scale]
        torch.testing.assert_close(loss, term.mean())
    assert set(SMSGE(**same.arguments).head) == set(same.head)
    assert "same_scale" not in whole.arguments  # as in earlier checkpoints


def test_arguments_build_the_model_again():
    model = SMSGE(20, 8, scales="JP", heads=2, hidden=4, n_hood=2, loss="MSE", pred_margin=1)
    model.fusion_lambda = 0.5
    again = SMSGE(**model.arguments)
    again.load_state_dict(model.state_dict())
    graphs = random_graphs(20)
    assert torch.equal(again.states(graphs), model.states(graphs))
    for scale, loss in model.losses(graphs, [[0, 2]]).items():
        assert torch.equal(loss, again.losses(graphs, [[0, 2]])[scale])


def test_options_of_the_loss():
    graphs, subsets = random_graphs(20), [[0], [0, 2]]
    model = SMSGE(20, 8)
    states = model.states({scale: x[:, [0, 2]] for scale, x in graphs.items()})
    rebuilt = model.head["BB"](states[..., -8:]).unflatten(2, (-1, 3))
    error = rebuilt - graphs["B"][:, [0, 2]]
    mean = {"l1": error.abs(), "MSE": error.square()}
    for name, each in mean.items():
        expected = (each[:, 0].mean() + each.mean()) / 2
        torch.testing.assert_close(SMSGE(20, 8, loss=name).losses(graphs, subsets)["B"], expected)
    summed = (error[:, 0].square().sum() + error.square().sum()) / 4
    torch.testing.assert_close(SMSGE(20, 8, loss="l2").losses(graphs, subsets)["B"], summed)
    ahead = (rebuilt - graphs["B"][:, [1, 3]]).abs()
    expected = (ahead[:, 0].mean() + ahead.mean()) / 2
    torch.testing.assert_close(SMSGE(20, 8, pred_margin=1).losses(graphs, subsets)["B"], expected)
    with pytest.raises(InputError, match="reach to 2"):
        SMSGE(20, 8, pred_margin=2).losses(graphs, subsets)


@pytest.mark.parametrize("some", ["B", "PB", "IJ"])
def test_fewer_scales(some):
    model = SMSGE(20, 8, scales=some)
    graphs = random_graphs(20)
    losses = JointStep(model, 1e-3)(graphs, [[0, 2]])
    assert list(losses) == list(some) and model.states(graphs).shape == (3, 4, 8 * len(some))


def test_wrong_use():
    with pytest.raises(InputError, match="joints, found 17"):
        SMSGE(17)
    with pytest.raises(InputError, match="scales"):
        SMSGE(20, scales="JX")
    with pytest.raises(InputError, match="loss"):
        SMSGE(20, loss="l3")
    model = SMSGE(20, 8)
    with pytest.raises(InputError, match="frame subset"):
        model.losses(random_graphs(20), [[]])


# ---- frame subsets


def test_prefix_tree():
    tree = prefix_tree([[0, 1, 3], [0, 1, 2], [2], [0, 3]])
    assert tree.frames.tolist() == [0, 2, 1, 3, 2, 3]
    assert tree.sizes == [2, 2, 2] and [p.tolist() for p in tree.parents] == [[0, 0], [0, 0]]
    passed = [nodes.nonzero().flatten().tolist() for nodes in tree.passes]
    assert passed == [[0, 2, 5], [0, 2, 4], [1], [0, 3]]


def test_draw_subsets():
    subsets = draw_subsets(np.random.RandomState(0), 6, sample_num=2)
    assert [len(frames) for frames in subsets] == [1, 2, 3, 4, 5, 6] * 2
    assert all(
        (np.diff(frames) > 0).all() and frames[0] >= 0 and frames[-1] < 6 for frames in subsets)
    again = draw_subsets(np.random.RandomState(0), 6, sample_num=2)
    assert all(np.array_equal(one, two) for one, two in zip(subsets, again, strict=True))
    rng = np.random.RandomState(0)
    assert [frames.tolist() for frames in draw_subsets(rng, 3, ord_sample=True)] == [[0], [0, 1],
                                                                                     [0, 1, 2]]
    for s_range, size in (("1", 1), ("f/2", 3), ("f-1", 5), ("f", 6)):
        assert [len(frames) for frames in draw_subsets(rng, 6, s_range=s_range)] == [size]
    both = draw_subsets(rng, 4, bi=True)
    assert len(both) == 8 and all((np.diff(frames) < 0).all() for frames in both[4:])
    ahead = draw_subsets(rng, 6, pred_margin=2)
    assert [len(frames) for frames in ahead] == [1, 2, 3, 4] and max(frames.max()
                                                                     for frames in ahead) == 3
    for wrong in ({"s_range": "2"}, {"s_range": "f",
                                     "pred_margin": 1}, {"bi": True, "pred_margin": 1}):
        with pytest.raises(InputError):
            draw_subsets(rng, 6, **wrong)
