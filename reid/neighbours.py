"""Exact nearest neighbours by Euclidean distance, in blocks, on the device of the features."""

import torch
from torch import Tensor

BLOCK_BYTES = 1 << 27  # of distances (rows, N) float32: memory stays linear in N
GROUP = 32  # columns whose minimum is taken before the k smallest are looked for
INDEX_BITS = (1 << 32) - 1


def nearest_neighbours(features: Tensor, k: int) -> Tensor:
    """Indices of the k nearest features of every feature, itself included, nearest first.

    features: (N, d) float32 on any device. Returns (N, min(k, N)) int64 there. Among equal
    distances, |x|^2 + |y|^2 - 2 <x, y> in float32 and at least 0, the lower index comes first.
    """
    k = min(k, len(features))
    squares = features.square().sum(dim=1)
    rows = max(1, BLOCK_BYTES // (4 * len(features)))
    blocks = []
    for query, square in zip(features.split(rows), squares.split(rows), strict=True):
        distances = torch.addmm(squares[None, :], query, features.T, alpha=-2.0)  # (rows, N)
        distances += square[:, None]
        blocks.append(k_smallest(distances.clamp_(min=0), k))
    return torch.cat(blocks)


def k_smallest(distances: Tensor, k: int) -> Tensor:
    """Columns (R, k) of the k smallest entries of each row, in order, the lower first among equals.

    distances: (R, N) float32, no negative values. The k smallest lie in the k groups of columns
    whose (minimum, number) are smallest: only k * GROUP columns of each row are sorted.
    """
    size, device = distances.shape[1], distances.device
    columns = torch.arange(size, device=device).expand_as(distances)
    groups = size // GROUP
    if groups > k:
        whole = groups * GROUP
        minima = distances[:, :whole].unflatten(1, (groups, GROUP)).amin(dim=2)  # (R, groups)
        best = _keys(minima, torch.arange(groups, device=device))
        best = best.topk(k, dim=1, largest=False, sorted=False).values & INDEX_BITS  # (R, k)
        inside = best[:, :, None] * GROUP + torch.arange(GROUP, device=device)  # (R, k, GROUP)
        columns = torch.cat([inside.flatten(1), columns[:, whole:]], dim=1)
        distances = distances.gather(1, columns)
    return _keys(distances, columns).topk(k, dim=1, largest=False).values & INDEX_BITS


def _keys(values: Tensor, columns: Tensor) -> Tensor:
    """int64 numbers that sort by value, then column: float32 bits above 32 index bits."""
    return (values.contiguous().view(torch.int32).long() << 32) | columns
