"""TensorFlow's Adam against its formula; by the released code's numbers it is tested with each
model.
"""

import copy

import numpy as np
import pytest
import torch

from skeleton_reid.engine.optimizer import TFAdam


def test_adam_against_the_formula():
    rng = np.random.RandomState(0)
    w, m, v = rng.normal(size=5), np.zeros(5), np.zeros(5)
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = TFAdam([parameter], 0.01)
    for t in range(1, 6):
        g = rng.normal(size=5) * 10.0**rng.randint(
            -9, 1, size=5)  # near epsilon the two forms of Adam differ
        parameter.grad = torch.tensor(g)
        optimizer.step()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
    np.testing.assert_allclose(parameter.detach(), w, rtol=1e-12)


def parameters(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(size, generator=generator)) for size in sizes]


def give_gradients(weights, seed):
    generator = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)


def test_goes_on_from_its_state():
    one = parameters(3, 2)
    first = TFAdam(one, 0.01)
    for seed in range(3):
        give_gradients(one, seed)
        first.step()
    two = copy.deepcopy(one)
    second = TFAdam(two, 0.01)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for weights, optimizer in ((one, first), (two, second)):
        give_gradients(weights, 3)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_layout_of_a_gradient_is_of_no_matter():
    one, two = parameters((3, 4)), parameters((3, 4))
    give_gradients(one, 0)
    two[0].grad = one[0].grad.T.contiguous().T
    for weights in (one, two):
        TFAdam(weights, 0.01).step()
    assert torch.equal(one[0], two[0])


def test_parameters_without_gradients_stay():
    weights = parameters(3, 2)
    before = weights[1].detach().clone()
    optimizer = TFAdam(weights, 0.01)
    for seed in range(2):
        give_gradients(weights[:1], seed)
        optimizer.step()
    assert torch.equal(weights[1], before)
    give_gradients(weights, 2)  # its bias correction would not be that of the others
    with pytest.raises(ValueError, match="same parameters"):
        optimizer.step()
