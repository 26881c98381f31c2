"""k-reciprocal Jaccard distance and DBSCAN on it, without an N x N matrix (SimMC, section 3.2).

The encoding V of a feature has tens of entries, and two features that share none of them are at
distance 1. Only pairs that share an entry are looked at, a block of rows at a time: memory is
linear in the number of features. The arithmetic is float32 in the order of the released code,
because DBSCAN's radius often falls exactly on a distance that many pairs have (see
docs/FIDELITY.md).
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from common.errors import InputError
from reid.neighbours import nearest_neighbours

try:
    from reid import compiled
except ImportError:  # no Numba for this machine's NumPy: array operations instead
    compiled = None

BLOCK_CELLS = 1 << 23  # cells of the dense block (rows, N) in which the sums of minima are gathered
BLOCK_TERMS = 1 << 23  # terms that are gathered at once
BLOCK_ROWS = 1 << 12  # rows that the compiled loops encode at once


def jaccard_distance(
    features, k1: int = 20, k2: int = 6, max_distance: float | None = None
) -> csr_array:
    """k-reciprocal Jaccard distances of all pairs below 1 (or at most max_distance).

    features: (N, d) array or tensor, used as it comes (not normalised). k1: neighbours that make
    the encoding; k2: neighbours over which it is averaged. Returns a (N, N) float32 csr_array with
    sorted indices that holds the pairs, those at distance 0 stored explicitly; every other pair is
    at distance 1 (or beyond max_distance).
    """
    features = _checked(features)
    return jaccard_from_neighbours(features, nearest_neighbours(features, k1), k2, max_distance)


def _checked(features) -> Tensor:
    features = torch.as_tensor(features, dtype=torch.float32)
    bad = int((~torch.isfinite(features)).any(dim=1).sum())
    if bad:
        raise InputError(
            f"expected finite features, found NaN or infinite values in {bad} of {len(features)}"
        )
    return features


def jaccard_from_neighbours(
    features: Tensor, rank: Tensor, k2: int = 6, max_distance: float | None = None
) -> csr_array:
    """As jaccard_distance, given the neighbours. features: (N, d) float32; rank: (N, k1) int64,
    nearest first.
    """
    size = len(features)
    i, j, d = (t.cpu().numpy() for t in close_pairs(encode(features, rank, k2), max_distance))
    off = i != j
    data = (np.concatenate([d, d[off]]), (np.concatenate([i, j[off]]), np.concatenate([j, i[off]])))
    matrix = csr_array(data, shape=(size, size))
    matrix.sort_indices()
    return matrix


def cluster(features, eps: float, min_samples: int, k1: int = 20, k2: int = 6) -> np.ndarray:
    """DBSCAN on the k-reciprocal Jaccard distance.

    features: (N, d) array or tensor. eps: radius, a pair at exactly eps is inside; min_samples:
    neighbours, itself included, that make a core point. Returns (N,) int64 labels, -1 = noise,
    numbered as scikit-learn's DBSCAN does.
    """
    features = _checked(features)
    return cluster_from_neighbours(features, nearest_neighbours(features, k1), eps, min_samples, k2)


def cluster_from_neighbours(
    features: Tensor, rank: Tensor, eps: float, min_samples: int, k2: int = 6
) -> np.ndarray:
    """As cluster, given the neighbours rank: (N, k1) int64, nearest first."""
    i, j, _ = (t.cpu().numpy() for t in close_pairs(encode(features, rank, k2), eps))
    return dbscan(len(features), i, j, min_samples)


class Encoding:
    """Sparse rows: entry e of row i, first[i] <= e < first[i + 1], has the value value[e] in
    column[e], ascending.

    Entries whose softmax weight has underflowed to 0 are left out, so that a stored value is above
    0.
    """

    def __init__(self, row: Tensor, column: Tensor, value: Tensor, first: Tensor):
        self.row, self.column, self.value, self.first = row, column, value, first
        self.size = len(first) - 1


def _starts(sorted_keys: Tensor, size: int) -> Tensor:
    """(size + 1,) positions at which the keys 0 ... size - 1 begin in a sorted array of keys."""
    counts = torch.bincount(sorted_keys, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _ranges(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The ranges first[n] ... first[n] + count[n] - 1 end to end: their numbers n and their
    elements.
    """
    number = torch.repeat_interleave(torch.arange(len(first), device=first.device), count)
    offset = count.cumsum(0) - count
    return number, torch.arange(len(number), device=first.device) + (first - offset)[number]


def encode(features: Tensor, rank: Tensor, k2: int) -> Encoding:
    """V: softmax weights on the expanded k-reciprocal neighbours, averaged over the k2 nearest
    (query expansion).

    features: (N, d) float32, rank: (N, k1) int64 on the same device.
    """
    if _compiled(rank):
        return _compiled_encoding(features, rank, k2)
    size = len(features)
    row, column = expanded_neighbours(rank)
    first = _starts(row, size)
    similarity = torch.cat(
        [
            (features[r].double() * features[c]).sum(dim=1).float()
            for r, c in zip(row.split(1 << 16), column.split(1 << 16), strict=True)
        ]
    )
    value = _softmax_rows(2 * similarity - 2, row, size)
    if k2 == 1:
        return _nonzero(row, column, value, size)
    near = rank[:, :k2]
    count = first[near + 1] - first[near]  # (N, k2)
    source, entry = _ranges(first[near].flatten(), count.flatten())
    keys = (source // near.shape[1]) * size + column[entry]
    # Stable, so that the terms of a sum keep the order of the neighbours, as in the released mean.
    keys, order = torch.sort(keys, stable=True)
    unique, lengths = torch.unique_consecutive(keys, return_counts=True)
    summed = torch.segment_reduce(value[entry][order], "sum", lengths=lengths)
    return _nonzero(unique // size, unique % size, summed / near.shape[1], size)


def _nonzero(row: Tensor, column: Tensor, value: Tensor, size: int) -> Encoding:
    row, column, value = (t[value > 0] for t in (row, column, value))
    return Encoding(row, column, value, _starts(row, size))


def _compiled(t: Tensor) -> bool:
    return compiled is not None and t.device.type == "cpu"


def _compiled_encoding(features: Tensor, rank: Tensor, k2: int) -> Encoding:
    """As encode, by compiled loops over blocks of rows."""
    near = rank.contiguous().numpy()
    half = half_size(near.shape[1])
    half_lists = compiled.half_lists(near, half)
    most = np.full(len(near), near.shape[1] * (half + 1))
    first, column, value = _compiled_rows(
        compiled.reciprocal_rows, (near, *half_lists, features.contiguous().numpy()), most
    )
    if k2 > 1:
        most = np.diff(first)[near[:, :k2]].sum(axis=1)
        first, column, value = _compiled_rows(
            compiled.mean_rows, (near[:, :k2], first, column, value), most
        )
    row = np.repeat(np.arange(len(near)), np.diff(first))
    return Encoding(*(torch.from_numpy(t) for t in (row, column, value, first)))


def _compiled_rows(loop, given: tuple, most: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows of a sparse matrix by a compiled loop: first, column and value as in Encoding.

    given: what the loop reads; most: (N,) entries that a row may have.
    """

    def block(start: int) -> tuple[np.ndarray, ...]:
        stop = min(start + BLOCK_ROWS, len(most))
        space = int(most[start:stop].sum())
        count = np.empty(stop - start, dtype=np.int64)
        column, value = np.empty(space, dtype=np.int64), np.empty(space, dtype=np.float32)
        found = loop(start, stop, *given, count, column, value)
        return count, column[:found].copy(), value[:found].copy()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        blocks = pool.map(block, range(0, len(most), BLOCK_ROWS))
        count, column, value = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return np.concatenate([[0], count.cumsum()]), column, value


def half_size(k1: int) -> int:
    """Length of the half lists."""
    return min(round(k1 / 2) + 1, k1)


def expanded_neighbours(rank: Tensor) -> tuple[Tensor, Tensor]:
    """R*: the k-reciprocal neighbours, with those of each neighbour that shares more than 2/3 of
    its half list.

    rank: (N, k1). Returns rows and columns of the members, sorted by row, then column.
    """
    size, k1 = rank.shape
    half = half_size(k1)
    mutual, half_mutual = _mutual(rank), _mutual(rank[:, :half])
    i, position = mutual.nonzero(as_tuple=True)
    c = rank[i, position]
    members, base = torch.where(mutual, rank, -1), torch.where(half_mutual, rank[:, :half], -2)
    rows, columns = [i], [c]
    for i_block, c_block in zip(i.split(1 << 16), c.split(1 << 16), strict=True):
        candidates = base[c_block]  # (P, half)
        shared = (candidates[:, :, None] == members[i_block][:, None, :]).any(2).sum(1)
        take = (candidates >= 0) & (3 * shared > 2 * (candidates >= 0).sum(1))[:, None]
        pair, slot = take.nonzero(as_tuple=True)
        rows.append(i_block[pair])
        columns.append(candidates[pair, slot])
    keys = torch.unique(torch.cat(rows) * size + torch.cat(columns))
    return keys // size, keys % size


def _mutual(rank: Tensor) -> Tensor:
    """(N, k) bool: whether the list of neighbour rank[i, p] names i."""
    rows = torch.arange(len(rank), device=rank.device)
    blocks = zip(rows.split(4096), rank.split(4096), strict=True)
    return torch.cat([(rank[near] == i[:, None, None]).any(dim=2) for i, near in blocks])


def _softmax_rows(logits: Tensor, row: Tensor, size: int) -> Tensor:
    """Softmax over the entries of each row of a sparse matrix; row: (entries,) sorted."""
    top = logits.new_full((size,), -torch.inf).scatter_reduce(0, row, logits, "amax")
    weight = torch.exp((logits - top[row]).double()).float()
    lengths = torch.bincount(row, minlength=size)
    return weight / torch.segment_reduce(weight, "sum", lengths=lengths)[row]


def close_pairs(v: Encoding, max_distance: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs i <= j with Jaccard distance below 1 (or at most max_distance), and their distances
    (float32).

    d(i, j) = 1 - m / (2 - m), m = sum over columns of min(V[i], V[j]), not below 0. The order of
    pairs is free.
    """
    # Both sides of `d <= limit` are float32: a distance that rounds to eps is within eps, as
    # released.
    limit = float(
        np.nextafter(np.float32(1), np.float32(0))
        if max_distance is None
        else np.float32(max_distance)
    )
    columns = Columns(v)
    terms = torch.cat([columns.later.new_zeros(1), columns.later.cumsum(0)])[v.first].cpu().numpy()
    loop = _compiled(v.value)
    rows = v.size if loop else max(1, BLOCK_CELLS // v.size)
    blocks, start = [], 0
    while start < v.size:
        stop = int(np.searchsorted(terms, terms[start] + BLOCK_TERMS, side="right")) - 1
        stop = min(max(stop, start + 1), start + rows, v.size)
        blocks.append((start, stop, int(terms[stop] - terms[start])))
        start = stop
    work = partial(_compiled_block if loop else _array_block, v, columns, limit)
    # The compiled loop runs outside the interpreter's lock, so that threads share the cores.
    with ThreadPoolExecutor(torch.get_num_threads() if loop else 1) as pool:
        i, j, d = zip(*pool.map(work, blocks), strict=True)
    return torch.cat(i), torch.cat(j), torch.cat(d)


class Columns:
    """The entries of an Encoding by column, then row.

    row, value: of the entry at each place. place: place of each entry. later: entries of an entry's
    column from its own row on. ends: place at which each column ends.
    """

    def __init__(self, v: Encoding):
        if _compiled(v.column):
            self.place, self.row, self.value = (
                torch.empty_like(t) for t in (v.column, v.row, v.value)
            )
            self.ends = v.first.new_zeros(v.size)
            arrays = (v.first, v.column, v.value, self.ends, self.place, self.row, self.value)
            compiled.by_column(*(t.numpy() for t in arrays))
        else:
            order = torch.sort(v.column, stable=True).indices
            self.row, self.value = v.row[order], v.value[order]
            self.place = torch.empty_like(order)
            self.place[order] = torch.arange(len(order), device=order.device)
            self.ends = _starts(v.column[order], v.size)[1:]
        self.later = self.ends[v.column] - self.place


def _compiled_block(
    v: Encoding, columns: Columns, limit: float, block: tuple[int, int, int]
) -> tuple[Tensor, ...]:
    start, stop, terms = block
    i, j, d = (np.empty(terms, dtype=t) for t in (np.int64, np.int64, np.float32))
    arrays = (v.first, v.column, v.value, columns.place, columns.ends, columns.row, columns.value)
    found = compiled.block_pairs(
        start, stop, *(t.numpy() for t in arrays), np.float32(limit), i, j, d
    )
    return tuple(torch.from_numpy(t[:found].copy()) for t in (i, j, d))


def _array_block(
    v: Encoding, columns: Columns, limit: float, block: tuple[int, int, int]
) -> tuple[Tensor, ...]:
    start, stop, _ = block
    a, b = int(v.first[start]), int(v.first[stop])
    entry, place = _ranges(columns.place[a:b], columns.later[a:b])
    minima = torch.minimum(v.value[a:b][entry], columns.value[place])
    cells = (v.row[a:b] - start)[entry] * v.size + columns.row[place]
    m = minima.new_zeros((stop - start) * v.size).index_add_(0, cells, minima)
    filled = m.nonzero().squeeze(1)
    m = m[filled]
    d = (1 - m / (2 - m)).clamp_(min=0)
    close = d <= limit
    filled = filled[close]
    return filled // v.size + start, filled % v.size, d[close]


def dbscan(size: int, i: np.ndarray, j: np.ndarray, min_samples: int) -> np.ndarray:
    """DBSCAN labels from the pairs i <= j within eps of each other (a point is its own pair if
    within eps).

    Clusters are the connected components of core points, numbered by their first core point; a
    border point goes to the lowest-numbered cluster that reaches it, as in scikit-learn, which
    visits the points in order.
    """
    off = i != j
    degree = np.bincount(i, minlength=size) + np.bincount(j[off], minlength=size)
    core = degree >= min_samples
    both = core[i] & core[j]
    graph = csr_array((np.ones(both.sum(), dtype=bool), (i[both], j[both])), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    cores = np.flatnonzero(core)
    _, first, inverse = np.unique(component[cores], return_index=True, return_inverse=True)
    labels = np.full(size, size, dtype=np.int64)
    labels[cores] = np.argsort(np.argsort(first))[inverse]
    for border, other in ((i, j), (j, i)):
        reached = ~core[border] & core[other]
        np.minimum.at(labels, border[reached], labels[other[reached]])
    labels[labels == size] = -1
    return labels
