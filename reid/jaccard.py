"""k-reciprocal Jaccard distance and DBSCAN on it, without an N x N matrix (SimMC, section 3.2).

The encoding V of a feature has tens of entries, and features that share none are at distance 1.
Only pairs that share an entry are looked at, a block of rows at a time: memory is linear in the
number of features. The arithmetic is float32 in the order of the released code, because DBSCAN's
radius often is a distance that many pairs have (docs/05-fidelity.md, eps-on-a-lattice).
"""

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.numbers import unmasked
from skeleton_reid.reid.neighbours import COLUMNS, far_offset, nearest_neighbours

BLOCK_ENTRIES = 1 << 20  # entries of a sparse matrix for which there is room in a block of rows


def jaccard_distance(features, k1: int = 20, k2: int = 6, max_distance: float | None = None,
                     rank: Tensor | None = None, search: str = "torch") -> csr_array:
    """k-reciprocal Jaccard distances of all pairs below 1 (or at most max_distance).

    features: (N, d) array or tensor, not normalised here. k1: neighbours that make the encoding;
    k2: those over which it is averaged. rank: the k1 (N, k1), nearest first, if known; else found
    by `search`, torch or faiss. Returns these pairs, also at 0, as a (N, N) csr_array, sorted.
    InputError: features not finite, or too large.
    """
    half = close_pairs(encode(features, k1, k2, rank, search), max_distance).tocoo()
    off = half.row != half.col
    row, column = np.append(half.row, half.col[off]), np.append(half.col, half.row[off])
    matrix = csr_array((np.append(half.data, half.data[off]), (row, column)), shape=half.shape)
    matrix.sort_indices()
    return matrix


def cluster(features, eps: float, min_samples: int, k1: int = 20, k2: int = 6,
            rank: Tensor | None = None, search: str = "torch") -> np.ndarray:
    """DBSCAN on the k-reciprocal Jaccard distance: scikit-learn's labels (N,) int64, -1 = noise.

    eps: radius, a pair at exactly eps is inside. min_samples: neighbours, itself included, that a
    core point has. The other arguments, and errors, are those of jaccard_distance. Features can lie
    in a file: np.load(FILE, mmap_mode="c").
    """
    from sklearn.cluster import DBSCAN

    graph = jaccard_distance(features, k1, k2, eps, rank, search)
    graph.data[:] = 1  # all are within eps, also those whose float32 number is above it
    return DBSCAN(eps=1, min_samples=min_samples, metric="precomputed").fit_predict(graph)


def encode(features, k1: int, k2: int, rank: Tensor | None, search: str = "torch") -> csr_array:
    """V (N, N) float32, averaged over the k2 nearest; columns ascending, stored values above 0."""
    from skeleton_reid.reid import loops

    features = torch.as_tensor(unmasked(features))
    if features.ndim != 2 or not len(features):
        raise InputError(f"expected features (N, d), found {tuple(features.shape)}")
    if features.dtype == torch.float64:  # digits that float32 lacks
        features = features - far_offset(features, 1e3)
    features = features.float()
    if bad := sum(int((~(x.square().sum(dim=1) < 1e37)).sum()) for x in features.split(COLUMNS)):
        raise InputError(f"found NaN, infinite or huge values in {bad} of {len(features)} features")
    rank = (nearest_neighbours(features, k1, search) if rank is None else rank).cpu().numpy()
    members = expanded_neighbours(rank)  # R*
    weights = loops.softmax_weights(features.cpu().contiguous().numpy(), members.indptr,
                                    members.indices)
    v = csr_array((weights, members.indices, members.indptr), shape=members.shape)
    if k2 > 1:
        v = neighbour_graph(rank[:, :k2]) @ v  # query expansion; sums the nearest first
        v.sort_indices()
        v.data /= np.float32(min(k2, rank.shape[1]))
    v.eliminate_zeros()  # of weights that float32 rounds to 0
    return v


def neighbour_graph(rank: np.ndarray) -> csr_array:
    """(N, N), 1 at the neighbours (N, k) of each row, in their order."""
    size, k = rank.shape
    ones, first = np.ones(size * k, dtype=np.float32), np.arange(0, size * k + 1, k)
    return csr_array((ones, rank.ravel(), first), shape=(size, size))


def expanded_neighbours(rank: np.ndarray) -> csr_array:
    """R* (N, N), of neighbours (N, k1): the reciprocal neighbours R, and R_half of those c in R(i)
    for which |R_half(c) and R(i)| > 2/3 |R_half(c)|; columns ascending.
    """
    half = round(rank.shape[1] / 2) + 1
    R, R_half = (graph.multiply(graph.T)
                 for graph in (neighbour_graph(rank), neighbour_graph(rank[:, :half])))
    shared = R.multiply(R @ R_half.T).tocoo()  # at (i, c)
    kept = 3 * shared.data > 2 * R_half.sum(axis=1)[shared.col]
    expanding = csr_array((shared.data[kept], (shared.row[kept], shared.col[kept])), shared.shape)
    members = R + expanding @ R_half
    members.sort_indices()
    return members


def close_pairs(v: csr_array, max_distance: float | None = None) -> csr_array:
    """Jaccard distances, below 1 or at most max_distance, of pairs i <= j of V, on all cores."""
    from skeleton_reid.reid import loops

    # Both sides of `d <= limit` are float32: what rounds to eps is within eps, as released.
    below_one = np.nextafter(np.float32(1), np.float32(0))
    limit = below_one if max_distance is None else np.float32(max_distance)
    by_column = v.tocsc()
    rows, columns = ((x.indptr, x.indices, x.data) for x in (v, by_column))
    # Entries in the columns of the rows before each: as many pairs as they can have.
    met = np.append(0, np.cumsum(np.diff(by_column.indptr)[v.indices], dtype=np.int64))[v.indptr]
    starts = np.searchsorted(met, np.arange(0, met[-1] + 1, BLOCK_ENTRIES))
    starts = np.unique(np.append(starts, len(met) - 1))

    def block(start: int, stop: int) -> tuple[Tensor, ...]:
        count = np.empty(stop - start, dtype=np.int64)
        column = np.empty(met[stop] - met[start], dtype=np.int64)
        value = np.empty(len(column), dtype=np.float32)
        end = loops.close_pairs(start, stop, limit, rows, columns, count, column, value)
        return tuple(map(torch.from_numpy, (count, column[:end].copy(), value[:end].copy())))

    # The loop runs outside the interpreter's lock.
    parts = processes.divided(block, starts[:-1], starts[1:], threads=True)
    count, column, value = (part.numpy() for part in parts)
    return csr_array((value, column, np.append(0, np.cumsum(count))), shape=v.shape)
