"""Graph attention over neighbours only, all heads at once.

The published attention is dense: an (n, n) softmax in which -1e9 is added where two nodes are no
neighbours. exp() of that is exactly 0 in float32, so leaving those pairs out gives the same
numbers; a hyper-joint graph of 49 nodes keeps 145 of its 2,401 pairs.

A node's features are linear in its position, and the weights of its neighbours add up to 1. So a
head averages the three coordinates of the neighbours and maps them afterwards, instead of averaging
mapped features. Positions carry a fourth coordinate, 1, that brings the biases in.

Layout: frames last, (heads, coordinates, n, M). Nodes are sorted by their number of neighbours;
those with equally many, one group, are one dense computation.
"""

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SLOPE = 0.2  # of the leaky ReLU
Group = tuple[slice, Tensor]


def neighbour_groups(bias: np.ndarray) -> tuple[np.ndarray, list[tuple[slice, np.ndarray]]]:
    """Nodes with equally many neighbours, from an attention bias (n, n): 0 between neighbours, else
    -1e9.

    Returns the order of the nodes (n,) and for each group its slice of that order and the
    neighbours of its nodes (K, nodes), as numbers in that order. A node is its own neighbour.
    """
    near = np.asarray(bias) == 0
    degrees = near.sum(axis=1)
    order = np.argsort(degrees, kind="stable")
    near, degrees = near[order][:, order], degrees[order]
    groups = []
    for K in np.unique(degrees):
        nodes = np.flatnonzero(degrees == K)
        around = np.stack([np.flatnonzero(near[i]) for i in nodes], axis=1)
        groups.append((slice(int(nodes[0]), int(nodes[-1]) + 1), around))
    return order, groups


def relations(score: Tensor, x: Tensor, groups: list[Group]) -> tuple[list[Tensor], list[Tensor]]:
    """Each group's leaky e = own + neighbour's score and alpha, its softmax, both (heads, K, nodes,
    M).

    score (2, heads, 4): of a node itself and as a neighbour, from its position x (4, n, M).
    """
    own, other = (
        (score.flatten(0, 1) @ x.flatten(1)).unflatten(1, x.shape[1:]).chunk(2)
    )  # (heads, n, M)
    scores = []
    for nodes, around in groups:
        e = other.index_select(1, around.flatten()).unflatten(1, around.shape)
        scores.append(torch.nn.functional.leaky_relu_(e.add_(own[:, None, nodes]), SLOPE))
    return scores, [e.softmax(dim=1) for e in scores]


def _neighbours(x: Tensor, around: Tensor) -> Tensor:
    """Positions (4, n, M) of the neighbours, (4, K, nodes, M)."""
    return x.index_select(1, around.flatten()).unflatten(1, around.shape)


class NeighbourAttention(torch.autograd.Function):
    """out_i = mean over heads of elu(value sum_j alpha_ij x_j)."""

    @staticmethod
    def forward(ctx, score: Tensor, value: Tensor, x: Tensor, groups: list[Group]) -> Tensor:
        """score (2, heads, 4), value (heads, channels, 4), x (4, n, M), groups in x's order ->
        (channels, n, M).
        """
        scores, alphas = relations(score, x, groups)
        mixed = x.new_ones(len(value), *x.shape)
        for (nodes, around), alpha in zip(groups, alphas, strict=True):
            near = _neighbours(x[:3], around)
            for c in range(3):
                torch.sum(alpha * near[c], 1, out=mixed[:, c, nodes])
        features = torch.nn.functional.elu_(
            torch.bmm(value, mixed.flatten(2))
        )  # (heads, channels, n M)
        ctx.save_for_backward(score, value, x, mixed, features, *scores, *alphas)
        ctx.groups = groups
        return features.mean(0).unflatten(1, x.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx, dout: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        score, value, x, mixed, features, *rest = ctx.saved_tensors
        scores, alphas = rest[: len(ctx.groups)], rest[len(ctx.groups) :]
        dout = (dout / len(value)).flatten(1).expand_as(features)
        dfeatures = torch.ops.aten.elu_backward(dout, 1, 1, 1, True, features)
        dvalue = torch.bmm(dfeatures, mixed.flatten(2).mT)
        dmixed = torch.bmm(value[:, :, :3].mT, dfeatures).unflatten(
            2, x.shape[1:]
        )  # (heads, 3, n, M)
        dscore = x.new_zeros(2, len(value), 4)
        dx = (
            torch.zeros_like(x) if ctx.needs_input_grad[2] else None
        )  # training does not ask for it
        for (nodes, around), e, alpha in zip(ctx.groups, scores, alphas, strict=True):
            near = _neighbours(x, around)
            # What all neighbours share cancels in the softmax's gradient: left out first, it leaves
            # no rounding.
            away = near[:3] - x[:3, None, nodes]
            dalpha = dmixed[:, 0, None, nodes] * away[0]
            for c in (1, 2):
                dalpha.addcmul_(dmixed[:, c, None, nodes], away[c])
            de = torch.ops.aten._softmax_backward_data(dalpha, alpha, 1, alpha.dtype)
            de = torch.ops.aten.leaky_relu_backward(de, e, SLOPE, True)
            dscore[0] += de.sum(1).flatten(1) @ x[:, nodes].flatten(1).T
            dscore[1] += de.flatten(1) @ near.flatten(1).T
            if dx is not None:
                dx[:, nodes] += torch.einsum("hc,hknm->cnm", score[0], de)
                dnear = torch.einsum("hc,hknm->cknm", score[1], de)
                dnear[:3] += torch.einsum("hcnm,hknm->cknm", dmixed[:, :, nodes], alpha)
                dx.index_add_(1, around.flatten(), dnear.flatten(1, 2))
        return dscore, dvalue, dx, None
