"""Two-layer LSTMs over many frame subsets of one sequence, every common beginning computed once.

SM-SGE reads f subsets of each sequence. Subsets such as [1, 2, 3] and [1, 2, 3, 5] begin alike, and
so do an LSTM's states: laid out as a tree of beginnings, six random subsets of six frames need
about 14 steps in place of 21, the six of `--ord_sample` 6, and a whole sequence is a tree without
branches. All nodes of one depth are one step.

The scales' LSTMs have the same width and run side by side, with a leading axis S on weights and
activations. Weights keep TensorFlow's layout: kernels are (inputs, outputs), the gates stand in the
order i, j, f, o, and the forget bias is added when the cell runs.

Shapes: S scales, N nodes of the tree, B sequences, f frames, D units.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from common.errors import InputError
from models.axes import FORGET_BIAS, cell_backward, cell_forward


class PrefixTree(NamedTuple):
    """The distinct beginnings of some frame subsets, one node each, shorter ones first.

    frames: the frame that each node reads, N of them. levels: for each depth, the nodes [start,
    stop) and their parents (none at the first depth). paths: the nodes that each subset passes, in
    its order.
    """

    frames: list[int]
    levels: list[tuple[int, int, list[int]]]
    paths: list[list[int]]


def prefix_tree(subsets: Iterable[Sequence[int]], shared: bool = True) -> PrefixTree:
    """The tree of the given frame subsets (frame numbers in the order of reading). InputError for
    an empty one.

    shared: nodes stand for the distinct beginnings. Without, each subset has nodes of its own, so
    that all but `frames` depends on the subsets' sizes only.
    """
    sequences = [tuple(int(frame) for frame in subset) for subset in subsets]
    if not sequences or not all(sequences):
        raise InputError("expected at least one frame subset, and at least one frame in each")
    tags = [0 if shared else number for number in range(len(sequences))]
    node: dict[tuple, int] = {}
    levels = []
    for depth in range(1, max(map(len, sequences)) + 1):
        start = len(node)
        for tag, sequence in zip(tags, sequences, strict=True):
            if len(sequence) >= depth:
                node.setdefault((tag, sequence[:depth]), len(node))
        parents = (
            [node[tag, beginning[:-1]] for tag, beginning in list(node)[start:]]
            if depth > 1
            else []
        )
        levels.append((start, len(node), parents))
    paths = [
        [node[tag, sequence[:depth]] for depth in range(1, len(sequence) + 1)]
        for tag, sequence in zip(tags, sequences, strict=True)
    ]
    return PrefixTree([beginning[-1] for _, beginning in node], levels, paths)


class Steps(NamedTuple):
    """A tree where the features are: frames (N,); parents (N - nodes of the first depth,) of all
    later nodes; and for each depth its nodes [start, stop)."""

    frames: Tensor
    parents: Tensor
    levels: tuple[tuple[int, int], ...]

    @property
    def depths(self) -> list[tuple[slice, Tensor | None]]:
        """For each depth its nodes and, but for the first, their parents."""
        counts = [stop - start for start, stop in self.levels]
        parents = [None, *self.parents.split(counts[1:])]
        return [(slice(*level), above) for level, above in zip(self.levels, parents, strict=True)]


def place(tree: PrefixTree, device: torch.device) -> Steps:
    """The tree as index tensors, in one copy to the device: each copy would make the host wait for
    it.
    """
    parents = [parent for _, _, parents in tree.levels for parent in parents]
    numbers = torch.tensor(tree.frames + parents, device=device)
    levels = tuple((start, stop) for start, stop, _ in tree.levels)
    return Steps(*numbers.split([len(tree.frames), len(parents)]), levels)


def _forward(gates: Tensor, recurrent: Tensor, steps: Steps) -> tuple[Tensor, Tensor, Tensor]:
    """One layer over the tree. gates (S, N, B, 4D): what inputs and biases add up to, replaced by
    the gates.

    Returns the cell states, their tanh and the outputs h, (S, N, B, D) each.
    """
    S, N, B, width = gates.shape
    c, squashed, h = (gates.new_empty(S, N, B, width // 4) for _ in range(3))
    for nodes, parents in steps.depths:
        level, earlier = gates[:, nodes].flatten(1, 2), None  # a view: (S, nodes * B, 4D)
        if parents is not None:
            level.baddbmm_(h.index_select(1, parents).flatten(1, 2), recurrent)
            earlier = c.index_select(1, parents).flatten(1, 2)
        cell_forward(level, earlier, *(each[:, nodes].flatten(1, 2) for each in (c, squashed, h)))
    return c, squashed, h


def _backward(
    dh: Tensor,
    gates: Tensor,
    c: Tensor,
    squashed: Tensor,
    h: Tensor,
    recurrent: Tensor,
    steps: Steps,
    dgates: Tensor,
) -> Tensor:
    """The gradient of the recurrent kernel; that of the gates' sums is written to dgates, dh (S, N,
    B, D) used up.

    autograd would multiply for the recurrent kernel's gradient once a depth; here it is one product
    over all nodes.
    """
    dc, drecurrent = torch.zeros_like(c), torch.zeros_like(recurrent)
    for nodes, parents in reversed(steps.depths):
        here, earlier = dgates[:, nodes].flatten(1, 2), None
        if parents is not None:
            earlier = c.index_select(1, parents).flatten(1, 2)
        known = (gates[:, nodes].flatten(1, 2), earlier, squashed[:, nodes].flatten(1, 2))
        passed = cell_backward(*known, dh[:, nodes].flatten(1, 2), dc[:, nodes].flatten(1, 2), here)
        if parents is not None:
            sizes = (len(parents), h.shape[2])
            dc.index_add_(1, parents, passed.unflatten(1, sizes))
            dh.index_add_(1, parents, torch.bmm(here, recurrent.mT).unflatten(1, sizes))
    if len(steps.parents):
        after = dgates[:, -len(steps.parents) :].flatten(1, 2)
        torch.bmm(h.index_select(1, steps.parents).flatten(1, 2).mT, after, out=drecurrent)
    return drecurrent


class _TreeLSTM(torch.autograd.Function):
    """Both LSTM layers over the tree, with back-propagation by hand and no copies between the
    layers.
    """

    @staticmethod
    def forward(ctx, given, first_recurrent, into, bias, second_recurrent, steps: Steps) -> Tensor:
        """given (S, f, B, 4D): first layer's inputs and biases, by frame; kernels (S, D, 4D), bias
        (S, 4D) of the second -> its h (S, N, B, D)."""
        ctx.steps, ctx.given = steps, given.shape
        gates = given.index_select(1, steps.frames)  # (S, N, B, 4D)
        first = (gates, *_forward(gates, first_recurrent, steps), first_recurrent)
        h = first[3]
        gates = torch.baddbmm(bias[:, None], h.flatten(1, 2), into).unflatten(1, h.shape[1:3])
        second = (gates, *_forward(gates, second_recurrent, steps), second_recurrent)
        ctx.save_for_backward(into, *first, *second)
        return second[3]

    @staticmethod
    @once_differentiable
    def backward(ctx, dh: Tensor):
        into, *saved = ctx.saved_tensors
        first, second = saved[:5], saved[5:]
        dgates = torch.empty_like(first[0])  # one for both layers: fresh memory costs time
        dsecond = _backward(dh.clone(), *second, ctx.steps, dgates)
        flat, h = dgates.flatten(1, 2), first[3]
        dinto, dbias = torch.bmm(h.flatten(1, 2).mT, flat), flat.sum(dim=1)
        dh = torch.bmm(flat, into.mT).unflatten(1, h.shape[1:3])
        dfirst = _backward(dh, *first, ctx.steps, dgates)
        dgiven = dgates.new_zeros(ctx.given).index_add_(1, ctx.steps.frames, dgates)
        return dgiven, dfirst, dinto, dbias, dsecond, None


class PrefixLSTM(nn.Module):
    """S two-layer LSTMs of D units, the input of LSTM s `inputs[s]` wide; weights 0 until
    `initialise`.
    """

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
        """Glorot-uniform, the input and recurrent kernels of a cell taken as the one matrix that
        they are there.
        """
        units = self.recurrent[0].shape[1]
        for s, first in enumerate(self.into_first):
            for into, recurrent in (
                (first, self.recurrent[0][s]),
                (self.into_second[s], self.recurrent[1][s]),
            ):
                limit = (6 / (len(into) + units + 4 * units)) ** 0.5
                into.uniform_(-limit, limit, generator=generator)
                recurrent.uniform_(-limit, limit, generator=generator)

    def forward(self, x: Sequence[Tensor], tree: PrefixTree | Steps) -> Tensor:
        """x: S inputs (B, f, inputs[s]) -> the second layer's outputs at every node of the tree,
        (S, N, B, D).
        """
        B, f = x[0].shape[:2]
        first, second = (bias + self.forget for bias in self.bias)  # (S, 4D)
        given = torch.stack(  # a frame's part is the same in every subset: one product a frame, not one a node
            [
                torch.addmm(bias, each.transpose(0, 1).flatten(0, 1), into)
                for each, into, bias in zip(x, self.into_first, first, strict=True)
            ]
        ).unflatten(1, (f, B))  # (S, f, B, 4D)
        steps = tree if isinstance(tree, Steps) else place(tree, given.device)
        return _TreeLSTM.apply(
            given, self.recurrent[0], self.into_second, second, self.recurrent[1], steps
        )
