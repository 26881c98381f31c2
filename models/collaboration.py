"""Collaborative relations of SM-SGE: the nodes of a scale read those of its own and the coarser
scales (MGRN).

    A_sr = softmax over r's nodes of H_s H_r^T        F_s = H_s + lambda sum_r A_sr H_r W_sr

Matrices of a few nodes are small work, so the passes over memory count: A is kept transposed,
because a softmax over a short last dimension is slow on a CPU, several times so for the 5 or 10
nodes of bodies and parts, and a scale's gradient is one node, written by hand.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def relation(fine: Tensor, coarse: Tensor) -> Tensor:
    """A_sr of two scales, (..., n_s, n_r), from their structural features (..., n_s, hidden), (...,
    n_r, hidden).
    """
    return (coarse @ fine.mT).softmax(dim=-2).mT


class Fusion(torch.autograd.Function):
    """F_s from the structural features of a scale and of those that it reads."""

    @staticmethod
    def forward(ctx, weight: float, H: Tensor, *read: Tensor) -> Tensor:
        """weight: lambda. H (M, n_s, hidden); read: H_r (M, n_r, hidden) for each r, then W_sr
        (hidden, hidden).
        """
        ctx.weight, count = weight, len(read) // 2
        fused, relations, mapped = H.clone(), [], []
        for H_r, W in zip(read[:count], read[count:], strict=True):
            relations.append(torch.bmm(H_r, H.mT).softmax(dim=1))  # (M, n_r, n_s)
            mapped.append(H_r @ W)
            fused.baddbmm_(relations[-1].mT, mapped[-1], alpha=weight)
        ctx.save_for_backward(H, *read, *relations, *mapped)
        return fused

    @staticmethod
    @once_differentiable
    def backward(ctx, dfused: Tensor):
        H, *saved = ctx.saved_tensors
        count = len(saved) // 4
        groups = [saved[start : start + count] for start in range(0, len(saved), count)]
        dgained, dH = ctx.weight * dfused, dfused.clone()
        dH_r, dW = [], []
        for H_r, W, A, mapped in zip(*groups, strict=True):
            dmapped = torch.bmm(A, dgained)  # (M, n_r, hidden)
            dA = torch.bmm(mapped, dgained.mT)  # (M, n_r, n_s)
            dscores = torch.ops.aten._softmax_backward_data(dA, A, 1, A.dtype)
            dH.baddbmm_(dscores.mT, H_r)
            dH_r.append((dmapped @ W.T).baddbmm_(dscores, H))
            dW.append(H_r.flatten(0, 1).T @ dmapped.flatten(0, 1))
        return None, dH, *dH_r, *dW
