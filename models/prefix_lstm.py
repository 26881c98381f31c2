"""Two-layer LSTMs over many frame subsets of one sequence, every common beginning computed once.

Subsets such as [1, 2, 3] and [1, 2, 3, 5] begin alike, and so do an LSTM's states: as a tree of
beginnings, SM-SGE's six random subsets of six frames need about 14 steps in place of 21, the six of
`--ord_sample` 6. All nodes of one depth are one step.

The scales' LSTMs run side by side, on a leading axis S. Weights keep TensorFlow's layout.

Shapes: S scales, N nodes of the tree, B sequences, f frames, D units.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError

FORGET_BIAS = 1.0  # TensorFlow adds it when the cell runs


def lstm_cell(gates: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
    """New h and c (..., H) of an LSTM cell. gates: (..., 4H), in TensorFlow's order (PyTorch's is
    i, f, j, o); c: the old one, None: 0.
    """
    i, j, f, o = gates.chunk(4, dim=-1)
    new = torch.sigmoid(i) * torch.tanh(j)
    c = new if c is None else torch.sigmoid(f + FORGET_BIAS) * c + new
    return torch.sigmoid(o) * torch.tanh(c), c


class PrefixTree(NamedTuple):
    """The distinct beginnings of M frame subsets, one node each, shorter ones first."""

    frames: Tensor  # (N,), the frame that a node reads; (N, B) where each sequence has its own
    sizes: list[int]  # the number of nodes of each depth
    parents: list[Tensor]  # of the nodes of each depth after the first, numbered within their depth
    passes: Tensor  # (M, N) bool: the nodes that a subset passes
    ends: Tensor  # (M,), the node that a subset ends in
    last: int  # the last frame that is read


def prefix_tree(subsets: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> PrefixTree:
    """The tree of frame subsets: frame numbers in reading order, (k,) for all sequences alike, or
    (B, k), a row a sequence. InputError for an empty one.
    """
    read = [np.asarray(subset, dtype=np.int64).T for subset in subsets]  # (k,) or (k, B)
    if not read or not all(own.size and own.min() >= 0 for own in read):
        raise InputError("expected at least one frame subset, and in each at least one frame, from "
                         f"0 on, found {[own.T.tolist() for own in read]}")
    sequences = [tuple(own.tolist() if own.ndim == 1 else map(tuple, own.tolist())) for own in read]
    depths = range(1, max(map(len, sequences)) + 1)
    levels = [sorted({s[:depth] for s in sequences if len(s) >= depth}) for depth in depths]
    parents = [[above.index(node[:-1]) for node in level] for above, level in pairwise(levels)]
    nodes = [node for level in levels for node in level]
    passes = [sequence[:len(node)] == node for sequence in sequences for node in nodes]
    # In one copy to the device, for which the host waits: not in a training step.
    frames = np.array([node[-1] for node in nodes])
    parts = [frames.ravel().tolist(), *parents, passes, list(map(nodes.index, sequences))]
    numbers = torch.tensor([number for part in parts for number in part], device=device)
    numbers, *parents, passes, ends = numbers.split([len(part) for part in parts])
    sizes, last = [len(level) for level in levels], max(int(own.max()) for own in read)
    passes = passes.view(len(sequences), -1).bool()
    return PrefixTree(numbers.view(frames.shape), sizes, parents, passes, ends, last)


def take(x: Tensor, frames: Tensor) -> Tensor:
    """What the nodes of a tree read: x (..., f, B, d), frames (N,) or (N, B) -> (..., N, B, d)."""
    if frames.ndim == 1:
        return x.index_select(-3, frames)
    return x[..., frames, torch.arange(x.shape[-2], device=x.device), :]


class PrefixLSTM(nn.Module):
    """S two-layer LSTMs of D units, the input of LSTM s `inputs[s]` wide; weights 0 at first."""
    def __init__(self, inputs: Sequence[int], units: int):
        super().__init__()
        S = len(inputs)
        self.into_first = nn.ParameterList([torch.zeros(width, 4 * units) for width in inputs])
        self.into_second = nn.Parameter(torch.zeros(S, units, 4 * units))
        self.recurrent = nn.ParameterList([torch.zeros(S, units, 4 * units) for _ in range(2)])
        self.bias = nn.ParameterList([torch.zeros(S, 4 * units) for _ in range(2)])

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Glorot-uniform; a cell's input and recurrent kernels are one matrix in TensorFlow."""
        units = self.into_second.shape[1]
        for s, first in enumerate(self.into_first):
            for layer, into in enumerate((first, self.into_second[s])):
                limit = (6 / (len(into) + units + 4 * units))**0.5
                into.uniform_(-limit, limit, generator=generator)
                self.recurrent[layer][s].uniform_(-limit, limit, generator=generator)

    def forward(self, x: Sequence[Tensor], tree: PrefixTree) -> Tensor:
        """x: S inputs (B, f, inputs[s]) -> the second layer's h at all nodes, (S, N, B, D)."""
        # Once a frame, not once a node: it is the same in every subset.
        rows = [each.transpose(0, 1).flatten(0, 1) for each in x]  # (f B, inputs[s])
        frames = map(torch.addmm, self.bias[0], rows, self.into_first)
        frames = torch.stack([*frames]).unflatten(1, (x[0].shape[1], -1))  # (S, f, B, 4D)
        h = self._layer(take(frames, tree.frames), self.recurrent[0], tree)
        gates = torch.baddbmm(self.bias[1][:, None], h.flatten(1, 2), self.into_second)
        return self._layer(gates.unflatten(1, (h.shape[1], -1)), self.recurrent[1], tree)

    @staticmethod
    def _layer(inputs: Tensor, recurrent: Tensor, tree: PrefixTree) -> Tensor:
        """h (S, N, B, D) of a layer from what its inputs and biases add to the gates."""
        outputs, h, c = [], None, None  # inputs (S, N, B, 4D)
        depths = inputs.split(tree.sizes, dim=1)
        for gates, parents in zip(depths, (None, *tree.parents), strict=True):
            if parents is not None:
                h, c = h.index_select(1, parents), c.index_select(1, parents)
                nodes, state = gates.shape[1], h.flatten(1, 2)
                gates = torch.baddbmm(gates.flatten(1, 2), state, recurrent)
                gates = gates.unflatten(1, (nodes, -1))
            h, c = lstm_cell(gates, c)  # (S, nodes of the depth, B, D)
            outputs.append(h)
        return torch.cat(outputs, dim=1)
