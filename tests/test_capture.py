"""Training steps recorded and replayed.

CUDA graphs need a GPU. On a CPU their contract is kept by `record_operations`: it records PyTorch's
operations with the memory that they read and write, and a replay does these, with none of the
Python around them.
"""

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from common.errors import InputError
from data.frame_subsets import draw_subsets
from engine import capture
from engine import pretraining as two_phases
from engine.capture import Recorded
from engine.joint_step import JointStep
from engine.recognisers import Recogniser
from engine.recognition_training import backward
from models.prefix_lstm import prefix_tree
from models.smsge import SMSGE

READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)


class Operations(TorchDispatchMode):
    """Records operations; refuses those for which a GPU's host would wait."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in READS:
            raise RuntimeError(f"{func} reads on the host")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, result in self.calls:
            for into, value in zip(
                tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True
            ):
                if isinstance(into, torch.Tensor) and into.data_ptr() != value.data_ptr():
                    into.copy_(value)


def record_operations(compute, device):
    """In place of capture.record."""
    compute()
    with Operations() as recording:
        results = compute()
    return recording.replay, results


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(capture, "record", record_operations)


def test_the_recorder_replays_operations_only(recorder):
    given = torch.ones(2)
    weight = torch.nn.Parameter(torch.full((2,), 3.0))
    calls = []

    def compute(x):
        calls.append(len(calls))
        weight.grad = None
        (weight * x).sum().backward()
        return x + len(calls)

    step = Recorded(compute, [weight])
    with pytest.raises(
        InputError, match=r"other numbers than the step itself.*leave out --capture"
    ):
        step(given)  # a number of Python's that changes
    with pytest.raises(RuntimeError, match="reads on the host"):
        Recorded(lambda x: x.sum().item(), [weight])(given)


@pytest.mark.parametrize("options", [{}, {"struct_only": True}, {"loss": "l2", "pred_margin": 1}])
def test_smsge(recorder, options):
    """Losses over steps with other subsets each: subsets are data of a recording, their sizes its
    shape.
    """
    model = SMSGE(20, 8, heads=2, **options)
    steps = JointStep(copy.deepcopy(model), 1e-3), JointStep(model, 1e-3, capture=True)
    rng, generator = np.random.RandomState(0), torch.Generator().manual_seed(0)
    for _ in range(4):
        graphs = model.graphs(torch.randn(4, 6, 20, 3, generator=generator))
        subsets = draw_subsets(rng, 6, pred_margin=model.pred_margin)
        expected, losses = (step(graphs, subsets) for step in steps)
        for scale in model.scales:
            assert losses[scale].item() == pytest.approx(expected[scale].item(), rel=1e-5)
    assert len(steps[1]._compute.recordings) == 1


@pytest.mark.parametrize("subsets", [[[0, 1, 3], [0, 1, 2], [2], [0, 3], [2]], [[1], [1]]])
def test_subsets_with_nodes_of_their_own(subsets):
    """The same gradients in double precision as with common beginnings."""
    model = SMSGE(20, 8, heads=2).double()
    graphs = model.graphs(torch.randn(3, 4, 20, 3, dtype=torch.float64))
    step, found = JointStep(model, 1e-3), []
    for shared in (True, False):
        losses, structural = step.gradients(graphs, model.reading(graphs, subsets, shared))
        rest = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append(
            [*losses.values(), *(g for each in structural.values() for g in each.values()), *rest]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    tree = prefix_tree(subsets, shared=False)
    assert len(tree.frames) == sum(map(len, subsets))
    assert [[tree.frames[node] for node in path] for path in tree.paths] == subsets


@pytest.mark.parametrize("combine", ["mean", "sum", "last"])
def test_recogniser(recorder, combine):
    model = Recogniser(12, 5, 8, combine)
    own, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    step = Recorded(lambda rows, labels: backward(model, rows, labels), model.parameters())
    for size in (4, 2, 4):
        rows, labels = torch.randn(size, 6, 12, generator=generator), torch.arange(size)
        assert torch.equal(step(rows, labels), backward(own, rows, labels))
        for a, b in zip(model.parameters(), own.parameters(), strict=True):
            assert torch.equal(a.grad, b.grad)


def losses_of_runs(train, *words) -> list[np.ndarray]:
    """The histories of both phases, of a run without --capture and of one with it."""
    found = []
    for more in ((), ("--capture",)):
        train("--epochs", 2, *words, *more)
        rows = [row for phase in ("encoder", "recogniser") for row in train.history(phase)]
        found.append(np.array([float(x) for row in rows for x in row.values() if x]))
    return found


@pytest.mark.parametrize("method", ["AGE", "SM-SGE"])
def test_whole_runs(recorder, monkeypatch, training, method):
    monkeypatch.setattr(
        two_phases, "check_capture", lambda args, device: None
    )  # as if there were a GPU
    plain, recorded = losses_of_runs(training(method))
    np.testing.assert_allclose(recorded, plain, rtol=1e-3)


def test_needs_a_gpu(training, capsys):
    error = training("AGE").error(capsys, "--capture", "--device", "cpu")
    assert "--capture records CUDA graphs, which device cpu does not have: leave it out" in error


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", ["AGE", "SM-SGE"])
def test_on_a_gpu(training, method):
    """CUDA graphs themselves."""
    plain, recorded = losses_of_runs(training(method), "--device", "cuda")
    np.testing.assert_allclose(recorded, plain, rtol=1e-2)
