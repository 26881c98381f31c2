"""Layers of AGE that exist once for each axis x, y, z and run as one batched computation.

Every weight and every activation has a leading axis of 3, so that three independent models cost the calls of one.
Weights are (3, outputs, inputs), PyTorch's order; an LSTM cell's input and recurrent weights are one matrix and its
gates stand in TensorFlow's order i, j, f, o (j is what PyTorch calls g).

A training step on a CPU is bound by memory traffic around the matrix products. Two small autograd functions keep it
down: the gradient of a weight is made in the weight's own memory layout, and a whole LSTM step is one node.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FORGET_BIAS = 1.0  # added when the cell runs, as TensorFlow does


class Product(torch.autograd.Function):
    """x W^T, plus a bias: x (3, N, inputs), W (3, outputs, inputs), bias (3, 1, outputs) or None."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias, x, weight.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        grad_x = torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None
        grad_bias = grad.sum(dim=1, keepdim=True) if ctx.has_bias else None
        return grad_x, torch.bmm(grad.mT, x), grad_bias


class LSTMStep(torch.autograd.Function):
    """One step of an LSTM cell: (x, W, sums, c) -> (h, c).

    The gates are x W^T + sums: x (3, B, D), W (3, 4H, D), sums (3, B or 1, 4H); x and W None where all of the gates
    is in sums. c (3, B, H), None for zeros.
    """

    @staticmethod
    def forward(ctx, x: Tensor | None, weight: Tensor | None, sums: Tensor, c: Tensor | None):
        gates = sums.clone() if x is None else torch.baddbmm(sums, x, weight.mT)  # (3, B, 4H)
        i, j, f, o = gates.chunk(4, dim=2)
        for gate in (i, f, o):
            gate.sigmoid_()
        j.tanh_()
        new = i * j
        if c is not None:
            new.addcmul_(f, c)
        squashed = new.tanh()
        ctx.save_for_backward(x, weight, c, gates, squashed)
        ctx.sums_shape = sums.shape
        return o * squashed, new

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_h: Tensor, grad_c: Tensor):
        x, weight, c, gates, squashed = ctx.saved_tensors
        i, j, f, o = gates.chunk(4, dim=2)
        grad = torch.empty_like(gates)
        grad_i, grad_j, grad_f, grad_o = grad.chunk(4, dim=2)
        torch.mul(grad_h, squashed, out=grad_o)
        grad_new = torch.ops.aten.tanh_backward(grad_h * o, squashed).add_(grad_c)
        torch.mul(grad_new, j, out=grad_i)
        torch.mul(grad_new, i, out=grad_j)
        if c is None:
            grad_f.zero_()
        else:
            torch.mul(grad_new, c, out=grad_f)
        for out, gate in ((grad_i, i), (grad_f, f), (grad_o, o)):
            torch.ops.aten.sigmoid_backward.grad_input(out, gate, grad_input=out)
        torch.ops.aten.tanh_backward.grad_input(grad_j, j, grad_input=grad_j)
        grad_c = None if c is None else grad_new.mul_(f)
        if x is None:
            return None, None, grad.sum_to_size(ctx.sums_shape), grad_c
        return torch.bmm(grad, weight), torch.bmm(grad.mT, x), grad.sum_to_size(ctx.sums_shape), grad_c


class AxisLinear(nn.Module):
    """Linear maps (3, N, inputs) -> (3, N, outputs); weights unset, biases 0."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(3, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return Product.apply(x, self.weight, None if self.bias is None else self.bias[:, None])


class AxisLSTMCell(nn.Module):
    """LSTM cells of TensorFlow's kind: weight (3, 4H, inputs + H), unset; bias (3, 4H), 0."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 4 * hidden, inputs + hidden))
        self.bias = nn.Parameter(torch.zeros(3, 4 * hidden))
        forget = torch.zeros(4, hidden)
        forget[2] = FORGET_BIAS
        self.register_buffer("forget", forget.flatten(), persistent=False)

    def split(self, inputs: int) -> list[Tensor]:
        """The weights of the first `inputs` inputs and those of the rest."""
        return self.weight.split([inputs, self.weight.shape[2] - inputs], dim=2)

    def bias_in_use(self) -> Tensor:
        """The bias and the forget bias, (3, 1, 4H)."""
        return (self.bias + self.forget)[:, None]

    def sequence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run over x (3, f, B, inputs): the outputs (3, f, B, H) and the last cell state (3, B, H)."""
        given, recurrent = self.split(x.shape[3])
        sums = Product.apply(
            x.flatten(1, 2), given, self.bias_in_use()
        )  # the input products of all frames at once
        sums = sums.unflatten(1, x.shape[1:3]).unbind(1)  # f of (3, B, 4H)
        h, c = LSTMStep.apply(None, None, sums[0], None)
        outputs = [h]
        for frame in sums[1:]:
            h, c = LSTMStep.apply(h, recurrent, frame, c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), c
