"""Two-layer LSTMs over many frame subsets of one sequence, every common beginning computed once.

SM-SGE reads f subsets of each sequence. Subsets such as [1, 2, 3] and [1, 2, 3, 5] begin alike, and so do an
LSTM's states: laid out as a tree of beginnings, six random subsets of six frames need about 14 steps in place of 21,
the six of `--ord_sample` 6, and a whole sequence is a tree without branches. All nodes of one depth are one step.

The scales' LSTMs have the same width and run side by side, with a leading axis S on weights and activations. Weights
keep TensorFlow's layout: kernels are (inputs, outputs), the gates stand in the order i, j, f, o, and the forget bias
is added when the cell runs.

Shapes: S scales, N nodes of the tree, B sequences, f frames, D units.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reid.errors import InputError

FORGET_BIAS = 1.0


class PrefixTree(NamedTuple):
    """The distinct beginnings of some frame subsets, one node each, shorter ones first.

    frames: the frame that each node reads, N of them. levels: for each depth, the nodes [start, stop) and their
    parents (none at the first depth). paths: the nodes that each subset passes, in its order.
    """

    frames: list[int]
    levels: list[tuple[int, int, list[int]]]
    paths: list[list[int]]


def prefix_tree(subsets: Iterable[Sequence[int]]) -> PrefixTree:
    """The tree of the given frame subsets (frame numbers in the order of reading). InputError for an empty one."""
    sequences = [tuple(int(frame) for frame in subset) for subset in subsets]
    if not sequences or not all(sequences):
        raise InputError("expected at least one frame subset, and at least one frame in each")
    node: dict[tuple, int] = {}
    levels = []
    for depth in range(1, max(map(len, sequences)) + 1):
        start = len(node)
        for sequence in sequences:
            if len(sequence) >= depth:
                node.setdefault(sequence[:depth], len(node))
        beginnings = list(node)[start:]
        levels.append((start, len(node), [node[each[:-1]] for each in beginnings] if depth > 1 else []))
    paths = [[node[sequence[:depth]] for depth in range(1, len(sequence) + 1)] for sequence in sequences]
    return PrefixTree([beginning[-1] for beginning in node], levels, paths)


def _layers(tree: PrefixTree, device: torch.device) -> list[tuple[slice, Tensor | None]]:
    """The nodes of each depth as a slice, with their parents as a tensor (None at the first depth)."""
    return [
        (slice(start, stop), torch.tensor(parents, device=device) if parents else None)
        for start, stop, parents in tree.levels
    ]


class _TreeLSTM(torch.autograd.Function):
    """One LSTM layer over the tree, with back-propagation by hand.

    autograd would multiply for the recurrent kernel's gradient once a depth; here it is one product over all nodes.
    """

    @staticmethod
    def forward(ctx, gates: Tensor, recurrent: Tensor, tree: PrefixTree) -> Tensor:
        """gates (S, N, B, 4D): what inputs and biases add up to; recurrent (S, D, 4D) -> h (S, N, B, D)."""
        gates = gates.clone()
        S, N, B, width = gates.shape
        c, tanh_c, h = (gates.new_empty(S, N, B, width // 4) for _ in range(3))
        ctx.layers = _layers(tree, gates.device)
        for nodes, parents in ctx.layers:
            level = gates[:, nodes]
            if parents is not None:
                flat = level.flatten(1, 2)  # a view: (S, nodes * B, 4D)
                flat.baddbmm_(h.index_select(1, parents).flatten(1, 2), recurrent)
            i, j, f, o = level.chunk(4, dim=-1)
            i.sigmoid_(), j.tanh_(), f.sigmoid_(), o.sigmoid_()
            torch.mul(i, j, out=c[:, nodes])
            if parents is not None:
                c[:, nodes].addcmul_(f, c.index_select(1, parents))
            torch.tanh(c[:, nodes], out=tanh_c[:, nodes])
            torch.mul(o, tanh_c[:, nodes], out=h[:, nodes])
        ctx.save_for_backward(gates, c, tanh_c, h, recurrent)
        return h

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dh: Tensor) -> tuple[Tensor, Tensor, None]:
        gates, c, tanh_c, h, recurrent = ctx.saved_tensors
        dsigmoid, dtanh = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
        dh, dc, dgates = dh.clone(), torch.zeros_like(c), torch.empty_like(gates)
        for nodes, parents in reversed(ctx.layers):
            i, j, f, o = gates[:, nodes].chunk(4, dim=-1)
            di, dj, df, do = dgates[:, nodes].chunk(4, dim=-1)
            dsigmoid.grad_input(dh[:, nodes] * tanh_c[:, nodes], o, grad_input=do)
            dc_here = dtanh(dh[:, nodes] * o, tanh_c[:, nodes]).add_(dc[:, nodes])
            dsigmoid.grad_input(dc_here * j, i, grad_input=di)
            dtanh.grad_input(dc_here * i, j, grad_input=dj)
            if parents is None:  # the cell state before the first frame is 0
                df.zero_()
                continue
            dsigmoid.grad_input(dc_here * c.index_select(1, parents), f, grad_input=df)
            dc.index_add_(1, parents, dc_here * f)
            back = torch.bmm(dgates[:, nodes].flatten(1, 2), recurrent.transpose(1, 2))
            dh.index_add_(1, parents, back.unflatten(1, (-1, dh.shape[2])))
        drecurrent = torch.zeros_like(recurrent)
        if len(ctx.layers) > 1:
            before = torch.cat([parents for _, parents in ctx.layers[1:]])
            after = dgates[:, ctx.layers[0][0].stop :].flatten(1, 2)
            drecurrent = torch.bmm(h.index_select(1, before).flatten(1, 2).transpose(1, 2), after)
        return dgates, drecurrent, None


class PrefixLSTM(nn.Module):
    """S two-layer LSTMs of D units, the input of LSTM s `inputs[s]` wide; weights 0 until `initialise`."""

    def __init__(self, inputs: Sequence[int], units: int):
        super().__init__()
        S = len(inputs)
        self.into_first = nn.ParameterList([torch.zeros(width, 4 * units) for width in inputs])
        self.into_second = nn.Parameter(torch.zeros(S, units, 4 * units))
        self.recurrent = nn.ParameterList([torch.zeros(S, units, 4 * units) for _ in range(2)])
        self.bias = nn.ParameterList([torch.zeros(S, 4 * units) for _ in range(2)])
        forget = torch.zeros(4, units)
        forget[2] = FORGET_BIAS
        self.register_buffer("forget", forget.flatten(), persistent=False)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Glorot-uniform, the input and recurrent kernels of a cell taken as the one matrix that they are there."""
        units = self.recurrent[0].shape[1]
        for s, first in enumerate(self.into_first):
            for into, recurrent in (
                (first, self.recurrent[0][s]),
                (self.into_second[s], self.recurrent[1][s]),
            ):
                limit = (6 / (len(into) + units + 4 * units)) ** 0.5
                into.uniform_(-limit, limit, generator=generator)
                recurrent.uniform_(-limit, limit, generator=generator)

    def forward(self, x: Sequence[Tensor], tree: PrefixTree) -> Tensor:
        """x: S inputs (B, f, inputs[s]) -> the second layer's outputs at every node of the tree, (S, N, B, D)."""
        B, f = x[0].shape[:2]
        first, second = (bias + self.forget for bias in self.bias)  # (S, 4D)
        frames = torch.tensor(tree.frames, device=x[0].device)
        gates = (
            torch.stack(  # a frame's part is the same in every subset: one product a frame, not one a node
                [
                    torch.addmm(bias, each.transpose(0, 1).flatten(0, 1), into)
                    for each, into, bias in zip(x, self.into_first, first, strict=True)
                ]
            )
        )
        gates = gates.unflatten(1, (f, B)).index_select(1, frames)  # (S, N, B, 4D)
        h = _TreeLSTM.apply(gates, self.recurrent[0], tree)
        gates = torch.baddbmm(second[:, None], h.flatten(1, 2), self.into_second).unflatten(1, h.shape[1:3])
        return _TreeLSTM.apply(gates, self.recurrent[1], tree)
