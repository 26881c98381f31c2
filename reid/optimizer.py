"""Adam as TensorFlow 1 applies it: epsilon stands outside the bias correction.

    w -= lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)

torch.optim.Adam corrects v before it adds eps, which differs by up to 70 % of lr where a gradient is near 1e-6.
All three systems were trained with this form.
"""

from collections.abc import Iterable

import torch


class TFAdam(torch.optim.Optimizer):
    """TensorFlow's Adam. Moments m, v and the step count t (a 0-d tensor) are the state of each parameter."""

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        """One update of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("TFAdam takes no closure")
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(params, [p.grad for p in params], group)

    def _update(self, params: list, grads: list, group: dict) -> None:
        b1, b2 = group["betas"]
        for p in params:
            if not self.state[p]:
                self.state[p].update(
                    step=torch.zeros((), dtype=torch.float64, device=p.device),
                    m=torch.zeros_like(p),
                    v=torch.zeros_like(p),
                )
        m = [self.state[p]["m"] for p in params]
        v = [self.state[p]["v"] for p in params]
        torch._foreach_lerp_(m, grads, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, grads, grads, 1 - b2)
        denominator = torch._foreach_sqrt(v)
        torch._foreach_add_(denominator, group["eps"])
        for p in params:
            self.state[p]["step"] += 1
        for p, m_p, d_p in zip(params, m, denominator, strict=True):
            t = self.state[p]["step"]
            # A tensor, so that nothing waits for the device.
            rate = group["lr"] * torch.sqrt(1 - b2**t) / (1 - b1**t)
            p.sub_((m_p / d_p) * rate.to(p.dtype))
