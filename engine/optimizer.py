"""Adam as TensorFlow 1 applies it: epsilon stands outside the bias correction.

    w -= lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)

torch.optim.Adam corrects v before it adds eps, which differs by up to 70 % of lr where a gradient
is near 1e-6. All three systems were trained with this form.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

EPSILON = 1e-8


class TFAdam(torch.optim.Adam):
    """TensorFlow's Adam, by PyTorch's fused kernel. With c = sqrt(1 - b2^t), PyTorch divides by
    sqrt(v) / c + eps_t and TensorFlow by (sqrt(v) + eps) / c: the same for eps_t = eps / c.
    """
    def __init__(self, params: Iterable[nn.Parameter], lr: float):
        super().__init__(params, lr, fused=True)
        for group in self.param_groups:
            group["steps"] = 0

    @torch.no_grad()
    def step(self) -> None:
        """One update. ValueError if other parameters have a gradient than at the step before."""
        for group in self.param_groups:
            parameters = group["params"]
            if group["steps"] and any((p.grad is None) == (p in self.state) for p in parameters):
                raise ValueError("TFAdam expects gradients of the same parameters at every step")
            # The kernel reads a gradient as if it were laid out as its parameter.
            for p in parameters:
                if p.grad is not None and p.grad.stride() != p.stride():
                    p.grad = torch.empty_like(p).copy_(p.grad)
            group["steps"] += 1
            group["eps"] = EPSILON / math.sqrt(1 - group["betas"][1]**group["steps"])
        super().step()


@contextmanager
def one_thread() -> Iterator[None]:
    """Decorates what a second PyTorch thread would slow down: batches of few hundred sequences."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
