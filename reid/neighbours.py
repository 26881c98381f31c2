"""Exact nearest neighbours by Euclidean distance, in blocks, on the device of the features.

On a CPU, many features that lie near a subspace are compared in it first (Subspace).
"""

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
SMALLEST = 1 << 13  # features for which a subspace can pay
DIRECTIONS = 29  # of the subspace: with the rest's norm and two terms, products of 32 numbers
BLOCK = 128  # features that lie together, at most, whose neighbours are looked for at a time
TILE = 1024  # columns of which a block's products stay in the cache of a core


def nearest_neighbours(features: Tensor, k: int, search: str = "torch") -> Tensor:
    """Indices of the k nearest features of every feature, itself included, nearest first.

    features: (N, d) float32 on any device. Returns (N, min(k, N)) int64 there. Of equal distances,
    |x|^2 + |y|^2 - 2 <x, y> in float32, the lower index is first. search: torch or faiss, exact.
    """
    k = min(k, len(features))
    squares = torch.cat([x.square().sum(dim=1) for x in features.split(COLUMNS)])
    find = partial(_nearest, features, squares, k)
    if by_faiss(search, k, len(features)):
        index = faiss_index(features.cpu().numpy(), features.device.index)
        find = partial(_nearest_by_faiss, index, find)
    elif subspace := Subspace.of(features, squares, k):
        return subspace.neighbours()
    count = 1 + 4 * len(features) * COLUMNS // BLOCK_BYTES
    blocks = features.tensor_split(count), squares.tensor_split(count)
    return processes.divided(lambda *block: (find(*block) & INDEX_BITS,), *blocks)[0]


def _nearest(features: Tensor, squares: Tensor, k: int, query: Tensor, square: Tensor) -> Tensor:
    """Keys (R, k) of the features nearest to each query (R, d); squares, square: their own."""
    best = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    for first in range(0, len(features), COLUMNS):
        others = slice(first, first + COLUMNS)
        distances = _distances(features[others], squares[others], query, square)
        keys = torch.cat([best, k_smallest(distances, k) + first], dim=1)
        best = keys.topk(min(k, keys.shape[1]), dim=1, largest=False).values if first else keys
    return best


def _distances(features: Tensor, squares: Tensor, query: Tensor, square: Tensor) -> Tensor:
    """Squared distances (R, C) of queries (R, d) to features (C, d), of their squared norms."""
    distances = torch.addmm(squares, query, features.T, alpha=-2.0)
    distances += square[:, None]
    return distances.clamp_(min=0)


class Subspace:
    """Search for the k nearest neighbours of features (N, d) float32 by way of a subspace.

    z (N, m) are coordinates along m - 1 principal directions and the norm of the rest, so that
    |z - z'| <= |x - x'|: a distance is computed only where that of z is within the k-th so far.
    What may be among the k nearest of the plain form, whatever rounding does, enters its product.
    """
    def __init__(self, features: Tensor, squares: Tensor, k: int) -> None:
        """squares: |x|^2 (N,), below 1e30; N >= k + EXTRA."""
        self.plain = partial(_nearest, features.contiguous(), squares, k)
        size, d = features.shape
        sample = features[::-(-size // (16 * d))].double()
        directions = torch.linalg.eigh(sample.T @ sample).eigenvectors[:, -DIRECTIONS:]
        z = torch.cat([_coordinates(x, directions) for x in features.split(COLUMNS)])
        # One process sorts, because all must have the same blocks.
        order = processes.divided(lambda _: (_sorted(z, torch.arange(size)),), range(1))[0]
        self.blocks = order.tensor_split(-(-size // BLOCK))
        # With u = 2^-24 and s = |x|^2 + |y|^2, sums in any order, a squared distance is off by at
        # most (3 d + 5) u s in the plain form, by (2 d + 6) u s as the sum of (x - y)^2; by z it is
        # for coordinates rounded from float64 (20 + sqrt(d)) u s, for their product (2 m + 6) u s.
        self.error = (6 * d + 256) * 2.0**-24
        least = (z.double().square().sum(dim=1) - self.error * squares).float()[:, None]
        self.left = torch.cat([-2 * z, torch.ones(size, 1), least], dim=1)  # (N, m + 2)
        right = torch.cat([z, least, torch.ones(size, 1)], dim=1)
        self.tiles = [(right[own].T.contiguous(), own.numpy()) for own in order.split(TILE)]

    @classmethod
    def of(cls, features: Tensor, squares: Tensor, k: int) -> "Subspace | None":
        """The search, if it is faster than the plain form and finds the same, as some rows show."""
        small = len(features) < SMALLEST or features.shape[1] < 2 * DIRECTIONS or k > BLOCK
        if small or features.device.type != "cpu" or not squares.max() < 1e30:
            return None
        search = cls(features, squares, k)
        return search if processes.divided(search.pays, range(1))[0] else None  # for all processes

    def pays(self, _: int) -> tuple[Tensor]:
        """(1,): are few columns within the limits of some rows, and the neighbours among them?"""
        size, d = self.plain.args[0].shape
        rows = torch.stack([block[0] for block in self.blocks])[::-(-size // BLOCK**2)]
        expected = self.plain(*(x[rows] for x in self.plain.args[:2]))
        limits = (expected[:, -1:] >> 32).int().view(torch.float32)
        left = sum((self.left[rows] @ tile <= limits).sum() for tile, _ in self.tiles) / len(rows)
        pays = bool(2 * DIRECTIONS + 16 * d * left / size < 0.8 * d)
        if pays:  # to the bit, which a product of another shape need not have
            keys, sure = self.nearest(rows)
            pays = sure and torch.equal(keys, expected)
        return (torch.tensor([pays]),)

    def neighbours(self) -> Tensor:
        """Indices (N, k), nearest first."""
        def work(rows: Tensor, number: int) -> tuple[Tensor]:
            tile = number * len(self.tiles) // len(self.blocks)
            return (self.nearest(rows, tile)[0] & INDEX_BITS,)

        found = processes.divided(work, self.blocks, range(len(self.blocks)), threads=True)[0]
        return found[torch.cat(self.blocks).argsort()]

    def nearest(self, rows: Tensor, first: int = 0) -> tuple[Tensor, bool]:
        """Keys (R, k) of the nearest to rows (R,), and whether none had to be searched plainly.

        first: tile that is looked at first, best that in which the rows lie.
        """
        from skeleton_reid.reid import loops

        features, squares, k = self.plain.args
        query, square = features[rows], squares[rows]
        near = torch.full((len(rows), k + EXTRA), torch.inf)  # squared distances, ascending
        columns = torch.zeros(near.shape, dtype=torch.int64)
        # Of s above, |y|^2 <= 2 |x|^2 + 2 |x - y|^2; 1e-30 is against underflow.
        factor, margin = 1 + 6 * self.error, 6 * self.error * square.double() + 1e-30
        arrays = [x.numpy() for x in (features, rows, margin, near, columns)]
        for tile, numbers in self.tiles[first:] + self.tiles[:first]:
            loops.keep_nearest((self.left[rows] @ tile).numpy(), numbers, k, factor, *arrays)
        limits = factor * near[:, k - 1].double() + margin
        columns = columns[:, :(near <= limits[:, None]).sum(dim=1).max()]
        some, place = columns.unique(return_inverse=True)
        distances = _distances(features[some], squares[some], query, square).gather(1, place)
        keys = _keys(distances, columns).topk(k, dim=1, largest=False).values
        unsure = near[:, -1] <= limits  # there may be more columns than there was room for
        if unsure.any():
            unsure[:8] = True  # a product of few rows has other bits
            keys[unsure] = self.plain(query[unsure], square[unsure])
        return keys, not unsure.any()


def _coordinates(x: Tensor, directions: Tensor) -> Tensor:
    """Of x (N, d) along orthonormal directions (d, m - 1), and the norm of the rest, float32."""
    x = x.double()
    along = x @ directions
    rest = x.square().sum(dim=1) - along.square().sum(dim=1)
    return torch.cat([along, rest.clamp(min=0).sqrt()[:, None]], dim=1).float()


def _sorted(z: Tensor, rows: Tensor) -> Tensor:
    """Rows (N,) of z, near ones together: halved and halved along what varies most."""
    if len(rows) <= BLOCK:
        return rows
    halves = z[rows, z[rows].var(dim=0).argmax()].argsort(stable=True).tensor_split(2)
    return torch.cat([_sorted(z, rows[half]) for half in halves])


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


def far_offset(features: Tensor, far: float) -> Tensor | float:
    """The mean (d,) of features (N, d), if its square is over `far` times their variance, else 0:
    without it the distances are the same, but do not drown in the rounding of squares.
    """
    mean = features.mean(dim=0)
    return mean if mean.square().sum() > far * features.var(dim=0, correction=0).sum() else 0.0


def by_faiss(search: str, k: int, rows: int) -> bool:
    """Whether faiss is to find the k nearest of some rows; InputError for an unknown search."""
    if search not in ("torch", "faiss"):
        raise InputError(f"search: expected torch or faiss, found {search!r}")
    return search == "faiss" and rows > k + EXTRA


def faiss_index(rows: np.ndarray, gpu: int | None = None) -> Any:
    """faiss's exact index of rows (N, d) float32, on a GPU by its number if one is named and this
    faiss knows GPUs. InputError without faiss.
    """
    try:
        import faiss
    except ImportError as error:
        raise InputError("--search faiss needs a package more: pip install faiss-cpu (or, for a "
                         "GPU, faiss-gpu; never both)") from error
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    if gpu is not None and faiss.get_num_gpus():
        index = faiss.index_cpu_to_gpus_list(index, gpus=[gpu])
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
    best = _keys(distances, columns).topk(k, dim=1, largest=False).values
    if not sure.all():
        best[~sure] = plain(query[~sure], square[~sure])
    return best
