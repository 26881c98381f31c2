"""Exact nearest neighbours by Euclidean distance, in blocks, on the device of the features."""

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError

BLOCK_BYTES = 1 << 27  # of distances (rows, columns) float32
COLUMNS = 1 << 16  # features that a block of rows is compared with at a time
GROUP = 32  # columns whose minimum is taken before the k smallest are looked for
INDEX_BITS = (1 << 32) - 1
EXTRA = 12  # rows that faiss is asked for beyond the k nearest
ROUNDING = 1e-5  # of a squared distance in float32, relative to the squares that it is made of


def nearest_neighbours(features: Tensor, k: int, search: str = "torch") -> Tensor:
    """Indices of the k nearest features of every feature, itself included, nearest first.

    features: (N, d) float32 on any device. Returns (N, min(k, N)) int64 there. Of equal distances,
    |x|^2 + |y|^2 - 2 <x, y> in float32, the lower index is first. search: torch or faiss, exact.
    """
    k = min(k, len(features))
    squares = torch.cat([x.square().sum(dim=1) for x in features.split(COLUMNS)])
    find = partial(_nearest, features, squares, k)
    if by_faiss(search, k, len(features)):
        find = partial(_nearest_by_faiss, faiss_index(features.cpu().numpy()), find)
    rows = max(1, BLOCK_BYTES // (4 * min(len(features), COLUMNS)))
    blocks = features.split(rows), squares.split(rows)
    return processes.divided(lambda *block: (find(*block),), *blocks)[0]


def _nearest(features: Tensor, squares: Tensor, k: int, query: Tensor, square: Tensor) -> Tensor:
    """Indices (R, k) of the features nearest to each query (R, d); squares, square: their own."""
    best = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    for first in range(0, len(features), COLUMNS):
        others = slice(first, first + COLUMNS)
        distances = torch.addmm(squares[None, others], query, features[others].T, alpha=-2.0)
        distances += square[:, None]  # (R, C)
        keys = torch.cat([best, k_smallest(distances.clamp_(min=0), k) + first], dim=1)
        best = keys.topk(min(k, keys.shape[1]), dim=1, largest=False).values if first else keys
    return best & INDEX_BITS


def k_smallest(distances: Tensor, k: int) -> Tensor:
    """Keys (R, k) of the k smallest entries of each row, in order, the lower column first in a tie.

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
    return _keys(distances, columns).topk(min(k, size), dim=1, largest=False).values


def _keys(values: Tensor, columns: Tensor) -> Tensor:
    """int64 numbers that sort by value, then column: float32 bits above 32 index bits."""
    return (values.contiguous().view(torch.int32).long() << 32) | columns


def by_faiss(search: str, k: int, rows: int) -> bool:
    """Whether faiss is to find the k nearest of some rows; InputError for an unknown search."""
    if search not in ("torch", "faiss"):
        raise InputError(f"search: expected torch or faiss, found {search!r}")
    return search == "faiss" and rows > k + EXTRA


def faiss_index(rows: np.ndarray) -> Any:
    """faiss's exact index of rows (N, d) float32, on its GPUs if any. InputError without faiss."""
    try:
        import faiss
    except ImportError as error:
        raise InputError("--search faiss needs a package more: pip install faiss-cpu") from error
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    if faiss.get_num_gpus():
        cloner = faiss.GpuMultipleClonerOptions()
        cloner.shard = True
        own = [int(os.environ["LOCAL_RANK"])] if processes.count() > 1 else None
        index = faiss.index_cpu_to_gpus_list(index, cloner, own)
    return index


def candidates(index: Any, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """k + EXTRA rows near each query (R, d), and (R,): are the k nearest surely among them?"""
    distances, rows = index.search(query, k + EXTRA)
    rounding = ROUNDING * (np.square(query).sum(axis=1) + distances[:, -1])
    return rows, distances[:, -1] - distances[:, k - 1] > rounding


def _nearest_by_faiss(index: Any, plain: partial, query: Tensor, square: Tensor) -> Tensor:
    """What `plain`, a partial of _nearest, gives; it does the rows of which faiss is not sure."""
    features, squares, k = plain.args
    near = candidates(index, query.cpu().numpy(), k)
    columns, sure = (torch.from_numpy(x).to(query.device) for x in near)
    products = (query[:, None] * features[columns]).sum(dim=2)  # (R, k + EXTRA)
    distances = (squares[columns] + square[:, None] - 2 * products).clamp(min=0)
    best = _keys(distances, columns).topk(k, dim=1, largest=False).values & INDEX_BITS
    if not sure.all():
        best[~sure] = plain(query[~sure], square[~sure])
    return best
