"""k-reciprocal Jaccard distance and DBSCAN on it, without an N x N matrix (SimMC, section 3.2).

The encoding V of a feature has tens of entries, and two features that share none of them are at distance 1. Only
pairs that share an entry are looked at, a block of rows at a time: memory is linear in the number of features.
The arithmetic is float32 in the order of the released code, because DBSCAN's radius often falls exactly on a
distance that many pairs have (see docs/FIDELITY.md).
"""

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from reid.neighbours import nearest_neighbours

BLOCK_CELLS = 1 << 23  # cells of the dense block (rows, N) in which the sums of minima are gathered
BLOCK_TERMS = 1 << 23  # terms that are gathered at once


def jaccard_distance(features, k1: int = 20, k2: int = 6, max_distance: float | None = None) -> csr_array:
    """k-reciprocal Jaccard distances of all pairs below 1 (or at most max_distance).

    features: (N, d) array or tensor, used as it comes (not normalised). k1: neighbours that make the encoding;
    k2: neighbours over which it is averaged. Returns a (N, N) float32 csr_array with sorted indices that holds the
    pairs, those at distance 0 stored explicitly; every other pair is at distance 1 (or beyond max_distance).
    """
    features = torch.as_tensor(features, dtype=torch.float32)
    return jaccard_from_neighbours(features, nearest_neighbours(features, k1), k2, max_distance)


def jaccard_from_neighbours(
    features: torch.Tensor, rank: torch.Tensor, k2: int = 6, max_distance: float | None = None
) -> csr_array:
    """As jaccard_distance, given the neighbours. features: (N, d) float32; rank: (N, k1) int64, nearest first."""
    size = len(features)
    i, j, d = (t.cpu().numpy() for t in close_pairs(encode(features, rank, k2), max_distance))
    off = i != j
    data = (np.concatenate([d, d[off]]), (np.concatenate([i, j[off]]), np.concatenate([j, i[off]])))
    matrix = csr_array(data, shape=(size, size))
    matrix.sort_indices()
    return matrix


def cluster(features, eps: float, min_samples: int, k1: int = 20, k2: int = 6) -> np.ndarray:
    """DBSCAN on the k-reciprocal Jaccard distance.

    features: (N, d) array or tensor. eps: radius, a pair at exactly eps is inside; min_samples: neighbours, itself
    included, that make a core point. Returns (N,) int64 labels, -1 = noise, numbered as scikit-learn's DBSCAN does.
    """
    features = torch.as_tensor(features, dtype=torch.float32)
    return cluster_from_neighbours(features, nearest_neighbours(features, k1), eps, min_samples, k2)


def cluster_from_neighbours(
    features: torch.Tensor, rank: torch.Tensor, eps: float, min_samples: int, k2: int = 6
) -> np.ndarray:
    """As cluster, given the neighbours rank: (N, k1) int64, nearest first."""
    i, j, _ = (t.cpu().numpy() for t in close_pairs(encode(features, rank, k2), eps))
    return dbscan(len(features), i, j, min_samples)


class Encoding:
    """Sparse rows: entry e of row i, first[i] <= e < first[i + 1], has the value value[e] in column[e], ascending."""

    def __init__(self, row: torch.Tensor, column: torch.Tensor, value: torch.Tensor, size: int):
        self.row, self.column, self.value, self.size = row, column, value, size
        self.first = _starts(row, size)


def _starts(sorted_keys: torch.Tensor, size: int) -> torch.Tensor:
    """(size + 1,) positions at which the keys 0 ... size - 1 begin in a sorted array of keys."""
    counts = torch.bincount(sorted_keys, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _ranges(first: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The ranges first[n] ... first[n] + count[n] - 1 end to end: their numbers n and their elements."""
    number = torch.repeat_interleave(torch.arange(len(first), device=first.device), count)
    offset = count.cumsum(0) - count
    return number, torch.arange(len(number), device=first.device) + (first - offset)[number]


def encode(features: torch.Tensor, rank: torch.Tensor, k2: int) -> Encoding:
    """V: softmax weights on the expanded k-reciprocal neighbours, averaged over the k2 nearest (query expansion).

    features: (N, d) float32, rank: (N, k1) int64 on the same device.
    """
    size = len(features)
    row, column = expanded_neighbours(rank)
    first = _starts(row, size)
    similarity = torch.cat(
        [
            (features[r] * features[c]).sum(dim=1)
            for r, c in zip(row.split(1 << 16), column.split(1 << 16), strict=True)
        ]
    )
    value = _softmax_rows(2 * similarity - 2, row, size)
    if k2 == 1:
        return Encoding(row, column, value, size)
    near = rank[:, :k2]
    count = first[near + 1] - first[near]  # (N, k2)
    source, entry = _ranges(first[near].flatten(), count.flatten())
    keys = (source // near.shape[1]) * size + column[entry]
    # Stable, so that the terms of a sum keep the order of the neighbours, as in the released mean.
    keys, order = torch.sort(keys, stable=True)
    unique, lengths = torch.unique_consecutive(keys, return_counts=True)
    summed = torch.segment_reduce(value[entry][order], "sum", lengths=lengths)
    return Encoding(unique // size, unique % size, summed / near.shape[1], size)


def expanded_neighbours(rank: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """R*: the k-reciprocal neighbours, with those of each neighbour that shares more than 2/3 of its half list.

    rank: (N, k1). Returns rows and columns of the members, sorted by row, then column.
    """
    size, k1 = rank.shape
    half = min(round(k1 / 2) + 1, k1)
    index = torch.arange(size, device=rank.device)
    # Row i names itself in the list of its neighbour: (N, k1), and in the neighbour's half list: (N, half).
    mutual = torch.cat(
        [(rank[r] == i[:, None, None]).any(2) for i, r in zip(index.split(4096), rank.split(4096))]
    )
    half_rank = rank[:, :half]
    half_mutual = torch.cat(
        [(half_rank[r] == i[:, None, None]).any(2) for i, r in zip(index.split(4096), half_rank.split(4096))]
    )
    i, position = mutual.nonzero(as_tuple=True)
    c = rank[i, position]
    members, base = torch.where(mutual, rank, -1), torch.where(half_mutual, half_rank, -2)
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


def _softmax_rows(logits: torch.Tensor, row: torch.Tensor, size: int) -> torch.Tensor:
    """Softmax over the entries of each row of a sparse matrix; row: (entries,) sorted."""
    top = logits.new_full((size,), -torch.inf).scatter_reduce(0, row, logits, "amax")
    weight = torch.exp(logits - top[row])
    lengths = torch.bincount(row, minlength=size)
    return weight / torch.segment_reduce(weight, "sum", lengths=lengths)[row]


def close_pairs(
    v: Encoding, max_distance: float | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs i <= j with Jaccard distance below 1 (or at most max_distance), and their distances (float32).

    d(i, j) = 1 - m / (2 - m), m = sum over columns of min(V[i], V[j]), not below 0.
    """
    by_column = torch.sort(v.column, stable=True).indices  # entries by column, then row
    place = torch.empty_like(by_column)
    place[by_column] = torch.arange(len(by_column), device=place.device)
    later = (
        _starts(v.column[by_column], v.size)[v.column + 1] - place
    )  # entries of the same column, this row on
    terms = torch.cat([later.new_zeros(1), later.cumsum(0)])[v.first]  # (N + 1,) terms before each row
    found = []
    start = 0
    while start < v.size:
        stop = int(torch.searchsorted(terms, terms[start] + BLOCK_TERMS, right=True)) - 1
        stop = min(max(stop, start + 1), start + max(1, BLOCK_CELLS // v.size), v.size)
        a, b = int(v.first[start]), int(v.first[stop])
        entry, position = _ranges(place[a:b], later[a:b])
        partner = by_column[position]
        minima = torch.minimum(v.value[a:b][entry], v.value[partner])
        cells = (v.row[a:b] - start)[entry] * v.size + v.row[partner]
        m = minima.new_zeros((stop - start) * v.size).index_add_(0, cells, minima)
        filled = m.nonzero().squeeze(1)
        d = m[filled]
        d = (1 - d / (2 - d)).clamp_(min=0)
        keep = d < 1 if max_distance is None else d <= max_distance
        filled = filled[keep]
        found.append((filled // v.size + start, filled % v.size, d[keep]))
        start = stop
    i, j, d = zip(*found, strict=True)
    return torch.cat(i), torch.cat(j), torch.cat(d)


def dbscan(size: int, i: np.ndarray, j: np.ndarray, min_samples: int) -> np.ndarray:
    """DBSCAN labels from the pairs i <= j within eps of each other (a point is its own pair if within eps).

    Clusters are the connected components of core points, numbered by their first core point; a border point goes to
    the lowest-numbered cluster that reaches it, as in scikit-learn, which visits the points in order.
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
