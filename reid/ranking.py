"""Retrieval: every probe ranks the gallery by Euclidean distance; top-1, top-5, top-10 and mAP.

Probes are taken person by person, so that a block of probes shares its matching gallery columns and
a rank is a position in a sorted row: ranks are read off by binary search, nothing N x N exists and
no permutation is computed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError

BLOCK_CELLS = 1 << 24  # distances (float64) held at once
TOP = (1, 5, 10)


def evaluate(
    probe,
    probe_ids,
    gallery,
    gallery_ids,
    exclude_self: bool = False,
    same_set_as_released: bool = False,
) -> dict:
    """Retrieval figures of features.

    probe: (P, d), gallery: (G, d), arrays or tensors; probe_ids: (P,), gallery_ids: (G,) person
    labels. exclude_self: probe and gallery are one set, and a sequence never matches itself.
    same_set_as_released: the released figures for one set instead (docs/FIDELITY.md, line 13).
    Returns a dict with top1, top5, top10, mAP (shares in [0, 1]), probes and gallery (counts).
    Probes whose person is not in the gallery count as misses in top-k and are left out of mAP.
    Raises InputError for NaN, empty sets or sizes that do not agree.
    """
    probe, gallery = (torch.as_tensor(x).to(torch.float64) for x in (probe, gallery))
    for name, features in (("probe", probe), ("gallery", gallery)):
        if features.ndim != 2:
            raise InputError(
                f"expected {name} features (N, d), found an array of shape {tuple(features.shape)}"
            )
        if not torch.isfinite(features).all():
            raise InputError(f"the {name} features hold NaN or infinite values")
    if probe.shape[1] != gallery.shape[1]:
        raise InputError(
            f"probe features have {probe.shape[1]} numbers, gallery features {gallery.shape[1]}"
        )
    # Equal gallery rows must be at equal distances (average precision depends on ties), which a
    # matrix product does not promise: a copy takes the distances of the row that it repeats.
    _, number = torch.unique(gallery, dim=0, return_inverse=True)
    first = torch.full_like(number, len(gallery)).scatter_reduce(
        0, number, torch.arange(len(gallery), device=number.device), "amin"
    )[number]
    copies = (first != torch.arange(len(gallery), device=first.device)).nonzero().squeeze(1)
    squares = gallery.square().sum(dim=1)

    def distances(rows: Tensor) -> Tensor:
        # Squared, and less the probe's own |p|^2: the order within a row is all that matters.
        d = torch.addmm(squares[None, :], probe[rows], gallery.T, alpha=-2.0)
        d[:, copies] = d[:, first[copies]]
        return d

    return _score(
        distances,
        probe_ids,
        gallery_ids,
        (len(probe), len(gallery)),
        exclude_self,
        same_set_as_released,
    )


def evaluate_distances(
    distances,
    probe_ids,
    gallery_ids,
    exclude_self: bool = False,
    same_set_as_released: bool = False,
) -> dict:
    """Retrieval figures of a (P, G) array of distances; everything else as in `evaluate`."""
    matrix = torch.as_tensor(distances)
    if matrix.ndim != 2:
        raise InputError(
            f"expected distances (probes, gallery), found an array of shape {tuple(matrix.shape)}"
        )
    if torch.isnan(matrix).any():
        raise InputError("the distances hold NaN")
    shape = (matrix.shape[0], matrix.shape[1])
    return _score(
        lambda r: matrix[r], probe_ids, gallery_ids, shape, exclude_self, same_set_as_released
    )


def _score(
    distances: Callable[[Tensor], Tensor],
    probe_ids,
    gallery_ids,
    shape,
    exclude_self: bool,
    released: bool,
) -> dict:
    """Top-k and mAP from a function that gives the distances of some probes (R,) to the gallery as
    (R, G).
    """
    probe_ids, gallery_ids = (
        np.asarray(torch.as_tensor(ids).cpu()) for ids in (probe_ids, gallery_ids)
    )
    _check(probe_ids, gallery_ids, shape, exclude_self or released)
    first = np.full(
        shape[0], np.inf
    )  # rank of the best match, 1 = nearest; inf: no match in the gallery
    precision = np.full(shape[0], np.nan)
    # By person, so that the probes of a block that follow one another share their matches.
    order = np.argsort(probe_ids, kind="stable")
    columns_of = {
        person: torch.from_numpy(np.flatnonzero(gallery_ids == person))
        for person in np.unique(probe_ids)
    }
    for rows in np.array_split(order, -(-shape[0] * shape[1] // BLOCK_CELLS)):
        d = distances(torch.from_numpy(rows))
        if exclude_self:
            d[torch.arange(len(rows)), torch.from_numpy(rows)] = torch.inf
        ranked = _sorted_rows(d)
        persons, starts = np.unique(probe_ids[rows], return_index=True)
        for person, start, stop in zip(persons, starts, [*starts[1:], len(rows)], strict=True):
            columns = columns_of[person].to(d.device)
            if len(columns):
                found = _rank(d[start:stop], ranked[start:stop], columns, skip_first=released)
                first[rows[start:stop]], precision[rows[start:stop]] = found
    known = precision[1:] if released else precision
    known = known[~np.isnan(known)]
    result = {f"top{k}": float((first <= k).mean()) for k in TOP}
    return {
        **result,
        "mAP": float(known.mean()) if len(known) else 0.0,
        "probes": shape[0],
        "gallery": shape[1],
    }


def _check(
    probe_ids: np.ndarray, gallery_ids: np.ndarray, shape: tuple[int, int], one_set: bool
) -> None:
    if (len(probe_ids), len(gallery_ids)) != tuple(shape):
        raise InputError(
            f"expected {shape[0]} probe and {shape[1]} gallery labels, found {len(probe_ids)} and {len(gallery_ids)}"
        )
    if 0 in shape:
        raise InputError(f"nothing to rank: {shape[0]} probes, {shape[1]} gallery sequences")
    if one_set and not np.array_equal(probe_ids, gallery_ids):
        raise InputError("self matches can be left out only if probe and gallery are the same set")


def _rank(
    d: Tensor, ranked: Tensor, columns: Tensor, skip_first: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Rank of the best match and average precision of probes that share their matches.

    d: (R, G) distances, infinite where a pair is left out; ranked: the same, every row sorted;
    columns: (M,) the matches. AP = mean over matches p of |{matches: d <= d_p}| / |{all: d <=
    d_p}|, which is scikit-learn's average precision with score -d. skip_first: whatever ranks first
    is passed over for the rank, as released for one set; the precision keeps it.
    """
    matches, order = torch.sort(d[:, columns], dim=1, stable=True)  # (R, M)
    nearer = torch.searchsorted(ranked, matches, right=True)  # |{all: d <= d_p}|
    among = torch.searchsorted(matches, matches, right=True)  # |{matches: d <= d_p}|
    share = torch.where(torch.isfinite(matches), among.double() / nearer, torch.nan)
    precision = share.nanmean(dim=1)  # NaN where every match is left out

    def rank_of(place: int) -> Tensor:
        """Rank of the match at a place of `matches`: by distance, then column; infinite if there is
        none.
        """
        if place >= matches.shape[1]:
            return torch.full((len(d),), torch.inf, dtype=torch.float64, device=d.device)
        best, column = matches[:, place].contiguous(), columns[order[:, place]]  # (R,)
        rank = torch.searchsorted(ranked, best[:, None]).squeeze(1) + 1
        tied = (
            nearer[:, place] > rank
        )  # something else is as near: what stands before the match counts
        if tied.any():
            before = torch.arange(d.shape[1], device=d.device) < column[tied, None]
            rank[tied] += ((d[tied] == best[tied, None]) & before).sum(dim=1)
        return torch.where(torch.isfinite(best), rank.double(), torch.inf)

    rank = rank_of(0)
    if skip_first:
        rank = torch.where(rank == 1, rank_of(1), rank) - 1
    return rank.cpu().numpy(), precision.cpu().numpy()


def _sorted_rows(d: Tensor) -> Tensor:
    """A copy of (R, G) with every row in ascending order."""
    if d.device.type != "cpu":
        return torch.sort(d, dim=1).values
    # NumPy sorts values several times faster than torch.sort, which computes the permutation too,
    # and sorts outside the interpreter's lock, so that threads share the cores.
    ranked = d.numpy().copy()
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.sort(axis=1), np.array_split(ranked, threads)))
    return torch.from_numpy(ranked)
