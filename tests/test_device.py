"""Training steps stay on the device of their data and never make the host wait for it.

Checked on PyTorch's device without memory, "meta": reading a number from it raises, and a watch
counts the copies.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skeleton_reid.data.sampling import draw_subsets
from skeleton_reid.engine.joint_step import JointStep
from skeleton_reid.engine.optimizer import train_batch
from skeleton_reid.engine.recognition import Recogniser
from skeleton_reid.models.age import AGE
from skeleton_reid.models.smsge import SMSGE


class Copies(TorchDispatchMode):
    """The operations with tensors of two devices among what they are given and what they return.

    Numbers of Python's that become a tensor of another device count too.
    """
    def __init__(self):
        super().__init__()
        self.found = []
        self.patches = pytest.MonkeyPatch()

    def __enter__(self):
        for owner, name in ((torch, "tensor"), (torch.Tensor, "new_tensor")):
            self.patches.setattr(owner, name, self._watched(getattr(owner, name)))
        return super().__enter__()

    def __exit__(self, *failure):
        self.patches.undo()
        return super().__exit__(*failure)

    def _watched(self, make):
        def made(*args, **kwargs):
            result = make(*args, **kwargs)
            if result.device.type != "cpu":
                self.found.append(make)
            return result

        return made

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
        if len({x.device for x in tensors}) > 1:
            self.found.append(func)
        return result


def copies(step) -> list:
    """What one call of step() copies to or from its device; it is called once before, as in
    training.
    """
    step()
    with Copies() as watch:
        step()
    return watch.found


def skeletons(joints):
    return torch.empty(4, 6, joints, 3, device="meta")


def test_the_watch_sees_copies():
    assert copies(lambda: torch.zeros(2).to("meta"))
    assert copies(lambda: torch.zeros(2, device="meta") + torch.tensor(1.0))
    assert copies(lambda: torch.tensor([1.0], device="meta"))
    assert copies(lambda: torch.zeros(2, device="meta").new_tensor([1.0]))
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.zeros(2, device="meta").sum().item()


@pytest.mark.parametrize("attention", ["LA", "BA", "MBA", "none"])
@pytest.mark.parametrize("decoder_input", ["zeros", "previous"])
def test_age(attention, decoder_input):
    model = AGE(20, 8, decoder_input, attention=attention).to("meta")
    assert copies(lambda: model.losses(skeletons(20))["total"].sum().backward()) == []
    assert all(p.grad.device.type == "meta" for p in model.parameters())


@pytest.mark.parametrize("options", [{}, {"struct_only": True}, {"loss": "l2"}, {"pred_margin": 1}])
def test_smsge(options):
    model = SMSGE(25, 8, heads=2, **options).to("meta")
    step, graphs = JointStep(model, 0.01), model.graphs(skeletons(25))
    subsets = draw_subsets(np.random.RandomState(0), 6, pred_margin=model.pred_margin)
    # What was drawn: the tree of the subsets.
    assert len(copies(lambda: step.gradients(graphs, subsets))) == 1
    assert len(copies(lambda: model.states(graphs))) == 1


@pytest.mark.parametrize("combine", ["mean", "sum", "last"])
def test_recogniser(combine):
    recogniser = Recogniser(12, 5, 8, combine).to("meta")
    optimizer = torch.optim.SGD(recogniser.parameters(), 0.1)
    rows, labels = (torch.empty(4, 6, 12,
                                device="meta"), torch.empty(4, dtype=torch.long, device="meta"))
    assert copies(lambda: train_batch(recogniser, optimizer, rows, labels)) == []
