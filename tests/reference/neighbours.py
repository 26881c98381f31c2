"""The plain neighbour search: all distances of a block of rows, and the k smallest of them."""

import torch
from torch import Tensor


def nearest_neighbours(x: Tensor, k: int, step: int = 1) -> Tensor:
    """(R, k) nearest neighbours of every step-th row of x (N, d) float32 by |x|^2 + |y|^2 -
    2 <x, y>, negative ones 0; of equal distances the lower index first.
    """
    squares, found = x.square().sum(dim=1), []
    count = 1 + len(x)**2 // (step * 2**25)  # blocks of rows, of 128 MiB of distances
    blocks = (rows[::step].tensor_split(count) for rows in (x, squares))
    for query, square in zip(*blocks, strict=True):
        distances = torch.addmm(squares, query, x.T, alpha=-2) + square[:, None]  # (R, N)
        distances.clamp_(min=0)
        last = distances.topk(k, dim=1, largest=False).values.amax(dim=1)
        for row, limit in zip(distances, last, strict=True):
            near = (row <= limit).nonzero()[:, 0]  # k, and what is as near as the last of them
            found.append(near[row[near].argsort(stable=True)[:k]])
    return torch.stack(found)
