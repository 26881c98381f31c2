"""Layers of AGE that exist once for each axis x, y, z and run as one batched computation.

Every weight and every activation has a leading axis of 3, so that three independent models cost the
calls of one. Weights are (3, outputs, inputs), PyTorch's order; an LSTM cell's input and recurrent
weights are one matrix and its gates stand in TensorFlow's order i, j, f, o (j is what PyTorch calls
g).

A training step on a CPU is bound by its matrix products, then by memory traffic around them. The
gradients of an LSTM layer are therefore written by hand: one node for all steps, and the gradient
of a weight is one product over all steps, made in the weight's own memory layout.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FORGET_BIAS = 1.0  # added when the cell runs, as TensorFlow does


class Product(torch.autograd.Function):
    """x W^T, plus a bias: x (3, N, inputs), W (3, outputs, inputs), bias (3, 1, outputs) or
    None.
    """

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


def cell_forward(
    gates: Tensor, c: Tensor | None, new_c: Tensor, squashed: Tensor, h: Tensor
) -> None:
    """The elementwise half of an LSTM step, from the gates' sums (3, B, 4H) and c (3, B, H), None
    for zeros.

    Replaces the sums by the gates i, j, f, o and writes the new cell state, its tanh and the new h,
    (3, B, H) each. The leading axis can be any number of models (models/prefix_lstm.py).
    """
    i, j, f, o = gates.chunk(4, dim=2)
    i.sigmoid_()
    j.tanh_()
    gates[:, :, 2 * i.shape[2] :].sigmoid_()
    torch.mul(i, j, out=new_c)
    if c is not None:
        new_c.addcmul_(f, c)
    torch.tanh(new_c, out=squashed)
    torch.mul(o, squashed, out=h)


def cell_backward(
    gates: Tensor,
    c: Tensor | None,
    squashed: Tensor,
    grad_h: Tensor,
    grad_c: Tensor | None,
    out: Tensor,
) -> Tensor | None:
    """The gradient of cell_forward: writes that of the gates' sums to out (3, B, 4H) and returns
    that of c.

    grad_h, grad_c: gradients of the new h and, where not None, of the new c.
    """
    i, j, f, o = gates.chunk(4, dim=2)
    grad_i, grad_j, grad_f, grad_o = out.chunk(4, dim=2)
    torch.mul(grad_h, squashed, out=grad_o)
    grad = torch.ops.aten.tanh_backward(grad_h * o, squashed)
    if grad_c is not None:
        grad += grad_c
    torch.mul(grad, j, out=grad_i)
    torch.mul(grad, i, out=grad_j)
    if c is None:
        grad_f.zero_()
    else:
        torch.mul(grad, c, out=grad_f)
    torch.ops.aten.sigmoid_backward.grad_input(grad_i, i, grad_input=grad_i)
    torch.ops.aten.tanh_backward.grad_input(grad_j, j, grad_input=grad_j)
    last = slice(2 * i.shape[2], None)  # f and o
    torch.ops.aten.sigmoid_backward.grad_input(
        out[..., last], gates[..., last], grad_input=out[..., last]
    )
    return None if c is None else grad.mul_(f)


class LSTMLayer(torch.autograd.Function):
    """An LSTM layer from zero states over x (3, f, B, D): all outputs (3, f, B, H) and the last c
    (3, B, H).

    weight (3, 4H, D + H), bias (3, 1, 4H), the forget bias included.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        frames, B, D = x.shape[1:]
        given, recurrent = weight[:, :, :D], weight[:, :, D:]
        x = x.flatten(1, 2)
        gates = torch.baddbmm(bias, x, given.mT).unflatten(1, (frames, B))  # of all frames at once
        c, squashed, h = gates.new_empty(3, *gates.shape[:3], recurrent.shape[2])
        for t in range(frames):
            if t:
                gates[:, t].baddbmm_(h[:, t - 1], recurrent.mT)
            cell_forward(gates[:, t], c[:, t - 1] if t else None, c[:, t], squashed[:, t], h[:, t])
        ctx.save_for_backward(x, weight, gates, c, squashed, h)
        return h, c[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_h: Tensor, grad_c: Tensor | None):
        x, weight, gates, c, squashed, h = ctx.saved_tensors
        D = x.shape[2]
        recurrent = weight[:, :, D:]
        grad = torch.empty_like(gates)
        passed = grad_h[:, -1]  # what h_t gets from its own use and from step t + 1
        for t in reversed(range(gates.shape[1])):
            earlier = c[:, t - 1] if t else None
            grad_c = cell_backward(gates[:, t], earlier, squashed[:, t], passed, grad_c, grad[:, t])
            if t:
                passed = torch.baddbmm(grad_h[:, t - 1], grad[:, t], recurrent)
        flat = grad.flatten(1, 2)  # (3, f B, 4H)
        grad_weight = torch.empty_like(weight)
        torch.bmm(flat.mT, x, out=grad_weight[:, :, :D])
        torch.bmm(grad[:, 1:].flatten(1, 2).mT, h[:, :-1].flatten(1, 2), out=grad_weight[:, :, D:])
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.bmm(flat, weight[:, :, :D]).unflatten(1, gates.shape[1:3])
        return grad_x, grad_weight, flat.sum(dim=1, keepdim=True)


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

    def bias_in_use(self) -> Tensor:
        """The bias and the forget bias, (3, 1, 4H)."""
        return (self.bias + self.forget)[:, None]

    def sequence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run over x (3, f, B, inputs): the outputs (3, f, B, H) and the last cell state (3, B,
        H).
        """
        return LSTMLayer.apply(x, self.weight, self.bias_in_use())
