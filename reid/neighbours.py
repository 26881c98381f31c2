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
DIRECTIONS = 29  # of the subspace: with the rest's norm and two limits, products of 32 numbers
BLOCK = 128  # features that lie together, at most, whose neighbours are looked for at a time
NEAR = 20  # blocks around them that give a limit
TILE = 2048  # columns of which a block's products stay in the cache of a core


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
    rows = max(1, BLOCK_BYTES // (4 * min(len(features), COLUMNS)))
    blocks = features.split(rows), squares.split(rows)
    return processes.divided(lambda *block: (find(*block) & INDEX_BITS,), *blocks)[0]


def _nearest(features: Tensor, squares: Tensor, k: int, query: Tensor, square: Tensor) -> Tensor:
    """Keys (R, k) of the features nearest to each query (R, d); squares, square: their own."""
    best = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    for first in range(0, len(features), COLUMNS):
        others = slice(first, first + COLUMNS)
        distances = torch.addmm(squares[None, others], query, features[others].T, alpha=-2.0)
        distances += square[:, None]  # (R, C)
        keys = torch.cat([best, k_smallest(distances.clamp_(min=0), k) + first], dim=1)
        best = keys.topk(min(k, keys.shape[1]), dim=1, largest=False).values if first else keys
    return best


class Subspace:
    """Search for the k nearest neighbours of features (N, d) float32 by way of a subspace.

    z (N, m) are coordinates along m - 1 principal directions and the norm of the rest, so that
    |z - z'| <= |x - x'|. Features that lie together are searched for at a time: the nearest in the
    blocks around limit the distance of the k-th; z tells what else can be within the limit; only
    this is searched as in the plain form. All else is farther, whatever rounding does, and a
    product of 5 rows or more has the same bits in any shape (MKL's usual kernels): the same result.
    """
    def __init__(self, features: Tensor, squares: Tensor, k: int) -> None:
        """squares: |x|^2 (N,), below 1e30; N >= NEAR * BLOCK >= k."""
        self.features, self.squares, self.k = features, squares, k
        size, d = features.shape
        sample = features[::-(-size // (16 * d))].double()
        directions = torch.linalg.eigh(sample.T @ sample).eigenvectors[:, -DIRECTIONS:]
        z = torch.cat([_coordinates(x, directions) for x in features.split(COLUMNS)])

        def cut(_: int) -> tuple[Tensor, Tensor]:
            blocks = _blocks(z, torch.arange(size))
            return torch.cat(blocks), torch.tensor([*map(len, blocks)])

        # One process cuts, because all must have the same blocks.
        self.order, sizes = processes.divided(cut, range(1))
        self.blocks = self.order.split(sizes.tolist())
        self.centres = torch.stack([z[block].mean(dim=0) for block in self.blocks])
        # With u = 2^-24, a squared distance |x|^2 + |y|^2 - 2 <x, y> of the plain form, sums in
        # any order, is off by at most (3 d + 5) u (|x|^2 + |y|^2); by z it is for coordinates
        # rounded from float64 (20 + sqrt(d)) u, for a product of m + 2 numbers (2 m + 6) u.
        self.error = (4 * d + 256) * 2.0**-24
        self.z, self.z_squares = z, z.double().square().sum(dim=1)
        least = (self.z_squares - self.error * squares).float()
        right = torch.cat([z, least[:, None], torch.ones(size, 1)], dim=1)  # (N, m + 2)
        self.tiles = [right[columns].T.contiguous() for columns in self.order.split(TILE)]

    @classmethod
    def of(cls, features: Tensor, squares: Tensor, k: int) -> "Subspace | None":
        """The search, if it is faster than the plain form: few columns are left in some blocks."""
        size, d = features.shape
        small = size < SMALLEST or d < 2 * DIRECTIONS or k > BLOCK
        if small or features.device.type != "cpu" or not squares.max() < 1e30:
            return None
        search = cls(features, squares, k)
        some = search.blocks[::-(-len(search.blocks) // 4)]
        left = sum(len(search.within_limit(block)) for block in some) / len(some)
        return search if 2 * DIRECTIONS + 1.5 * d * left / size < 0.8 * d else None

    def neighbours(self) -> Tensor:
        """Indices (N, k), nearest first."""
        def work(block: Tensor) -> tuple[Tensor]:
            columns = self.within_limit(block)
            return (columns[self.nearest(columns, block) & INDEX_BITS],)

        found = torch.empty(len(self.order), self.k, dtype=torch.int64)
        found[self.order] = processes.divided(work, self.blocks, threads=True)[0]
        return found

    def nearest(self, columns: Tensor, block: Tensor) -> Tensor:
        """Keys (R, k) of the nearest of some columns (C,) to the rows of a block (R,)."""
        x, squares = self.features, self.squares
        return _nearest(x[columns], squares[columns], self.k, x[block], squares[block])

    def within_limit(self, block: Tensor) -> Tensor:
        """Columns (C,), ascending, that may be among the k nearest of any row of a block (R,)."""
        z, squares = self.z[block], self.squares[block]
        away = (self.centres - z.mean(dim=0)).square().sum(dim=1)
        around = away.topk(min(NEAR, len(away)), largest=False).indices.tolist()
        last = self.nearest(torch.cat([self.blocks[n] for n in around]), block)[:, -1]
        limit = (last >> 32).int().view(torch.float32).double()  # squared distances (R,)
        limit += self.error * (limit + squares) + 1e-30  # against underflow
        limit = (limit - self.z_squares[block]).float()
        # |z'|^2 - 2 <z, z'> + |z|^2 - limit, errors allowed for: over 0, what is beyond the limit.
        left = torch.cat([-2 * z, torch.ones(len(z), 1), -limit[:, None]], dim=1)
        over = torch.cat([(left @ tile).amin(dim=0) for tile in self.tiles])  # (N,)
        return self.order[over <= 0].sort().values


def _coordinates(x: Tensor, directions: Tensor) -> Tensor:
    """Of x (N, d) along orthonormal directions (d, m - 1), and the norm of the rest, float32."""
    x = x.double()
    along = x @ directions
    rest = x.square().sum(dim=1) - along.square().sum(dim=1)
    return torch.cat([along, rest.clamp(min=0).sqrt()[:, None]], dim=1).float()


def _blocks(z: Tensor, rows: Tensor) -> list[Tensor]:
    """Rows (N,) of z in blocks of at most BLOCK that lie together: cut in two, again and again,
    along the coordinate that varies most.
    """
    if len(rows) <= BLOCK:
        return [rows]
    own = z[rows]
    halves = own[:, own.var(dim=0).argmax()].argsort(stable=True).tensor_split(2)
    return [block for half in halves for block in _blocks(z, rows[half])]


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
