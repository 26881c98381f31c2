"""SM-SGE the plain way: dense attention, one LSTM call a subset and scale, one backward pass and
one Adam a loss.

What models.smsge and train_smsge.JointStep compute at once, step by step on the same weights, with
the dense definition of graph attention; to compare with, and to time.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from skeleton_reid.models.prefix_lstm import FORGET_BIAS
from skeleton_reid.models.smsge import SMSGE


def nodes(model: SMSGE, graphs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fused node features, (B, f, n, hidden) each."""
    H = {scale: model.structure[scale].dense(graphs[scale])[0] for scale in model.scales}
    if model.struct_only:
        return H
    fused = {}
    for fine in model.scales:
        gained = torch.zeros_like(H[fine])
        for coarse in model.coarser(fine):
            A = torch.softmax(H[fine] @ H[coarse].mT, dim=-1)
            gained = gained + A @ H[coarse] @ model.relation[fine + coarse]
        fused[fine] = H[fine] + model.fusion_lambda * gained
    return fused


def lstm_gates_to_torch(array: Tensor) -> Tensor:
    """TensorFlow's gates i, j, f, o in the last axis, 4 * units wide, in PyTorch's order i, f, g, o
    (g = j), or back.
    """
    i, j, f, o = array.chunk(4, dim=-1)
    return torch.cat([i, f, j, o], dim=-1)


def lstms(model: SMSGE) -> dict[str, Callable[[Tensor], Tensor]]:
    """PyTorch's LSTM with the weights of each scale: (B, k, n * hidden) -> outputs (B, k, D_h)."""
    own, forget = model.dynamics, torch.zeros(4, model.D_h)
    forget[2] = FORGET_BIAS
    found = {}
    for s, scale in enumerate(model.scales):
        weights = {}
        for layer, into in enumerate((own.into_first[s], own.into_second[s])):
            weights[f"weight_ih_l{layer}"] = lstm_gates_to_torch(into).T.contiguous()
            weights[f"weight_hh_l{layer}"] = lstm_gates_to_torch(
                own.recurrent[layer][s]).T.contiguous()
            weights[f"bias_ih_l{layer}"] = lstm_gates_to_torch(own.bias[layer][s]
                                                               + forget.flatten())
            weights[f"bias_hh_l{layer}"] = torch.zeros(4 * model.D_h)
        width = len(own.into_first[s])
        module = nn.LSTM(width, model.D_h, num_layers=2, batch_first=True, device="meta")
        found[scale] = lambda x, module=module, weights=weights: functional_call(
            module, weights, x)[0]
    return found


def losses(model: SMSGE, graphs: Mapping[str, Tensor],
           subsets: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """The four losses (l1, no pred_margin)."""
    fused, lstm = nodes(model, graphs), lstms(model)
    out = {}
    for source in model.scales:
        total = 0
        for frames in map(list, subsets):
            h = lstm[source](fused[source][:, frames].flatten(2))  # (B, k, D_h)
            for target in model.coarser(source):
                head = model.head[source + target]
                rebuilt = (h @ head.W_1 + head.b_1).relu() @ head.W_2 + head.b_2
                total = total + (rebuilt - graphs[target][:, frames].flatten(2)).abs().mean()
        out[source] = total / len(subsets)
    return out


@torch.no_grad()
def states(model: SMSGE, graphs: Mapping[str, Tensor]) -> Tensor:
    """The states after k = 1 ... f frames (B, f, 4 D_h), by one pass over the beginning for each
    k.
    """
    fused, lstm = nodes(model, graphs), lstms(model)
    f = graphs[model.scales[0]].shape[1]
    rows = [
        torch.cat([lstm[scale](fused[scale][:, :k].flatten(2))[:, -1]
                   for scale in model.scales], dim=1) for k in range(1, f + 1)
    ]
    return torch.stack(rows, dim=1)


def gradients(model: SMSGE, losses: Mapping[str, Tensor]) -> dict[str, SMSGE]:
    """For each loss a copy of the model that holds its gradients in place of the weights."""
    result = {}
    for scale, loss in losses.items():
        found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True,
                                    allow_unused=True)
        result[scale] = copy.deepcopy(model)
        for parameter, gradient in zip(result[scale].parameters(), found, strict=True):
            parameter.data = torch.zeros_like(parameter) if gradient is None else gradient
    return result


class PlainStep:
    """Four backward passes, four Adam optimisers over all that each loss reaches, a variable at a
    time.
    """
    def __init__(self, model: SMSGE, lr: float):
        self.model, self.lr, self.steps = model, lr, 0
        self.moments = {
            scale: [(torch.zeros_like(p), torch.zeros_like(p)) for p in model.parameters()]
            for scale in model.scales
        }

    def __call__(self, graphs: Mapping[str, Tensor],
                 subsets: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Train on one batch; returns the losses before the step, detached."""
        self.steps += 1
        rate = self.lr * math.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        parameters = list(self.model.parameters())
        before = losses(self.model, graphs, subsets)
        gradients = {
            scale: torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            for scale, loss in before.items()
        }
        with torch.no_grad():
            for scale, moments in self.moments.items():
                for parameter, (m, v), gradient in zip(parameters, moments, gradients[scale],
                                                       strict=True):
                    if gradient is not None:
                        m.copy_(0.9 * m + 0.1 * gradient)
                        v.copy_(0.999 * v + 0.001 * gradient**2)
                        parameter -= rate * m / (v.sqrt() + 1e-8)
        return {scale: loss.detach() for scale, loss in before.items()}
