"""Retrieval: every probe ranks the gallery by Euclidean distance; top-1, top-5, top-10 and mAP.

Probes are taken person by person: a block of probes shares its matching gallery columns, and ranks
are read off sorted rows by binary search. Nothing N x N exists, no permutation is computed.
"""

import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.numbers import unmasked
from skeleton_reid.reid.neighbours import far_offset

BLOCK_CELLS = 1 << 24  # distances (float64) held at once
TOP = (1, 5, 10)


def evaluate(probe, probe_ids, gallery, gallery_ids, exclude_self: bool = False,
             released: bool = False) -> dict:
    """Retrieval figures of features; arguments and errors as of `ranks`.

    Returns a dict with top1, top5, top10, mAP (shares in [0, 1]), probes and gallery (counts).
    Probes whose person is not in the gallery count as misses in top-k and are left out of mAP; if
    none is left mAP is NaN, with a warning.
    """
    ranked = ranks(probe, probe_ids, gallery, gallery_ids, exclude_self, released)
    return _figures(*ranked, len(gallery), released)


def ranks(probe, probe_ids, gallery, gallery_ids, exclude_self: bool = False,
          released: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Each probe's rank of its nearest match, from 1 on, and its average precision, (P,) float64;
    inf and NaN if its person is not in the gallery.

    probe: (P, d), gallery: (G, d), arrays or tensors; probe_ids: (P,), gallery_ids: (G,) person
    labels. exclude_self: probe and gallery are one set, and a sequence never matches itself.
    released: the released figures for one set instead (docs/5-fidelity.md, self-match).
    Raises InputError for NaN, empty sets or shapes that do not agree.
    """
    probe, gallery = (torch.as_tensor(unmasked(x)).to(torch.float64) for x in (probe, gallery))
    shapes = tuple(probe.shape), tuple(gallery.shape)
    if not len(shapes[0]) == len(shapes[1]) == 2 or shapes[0][1] != shapes[1][1]:
        raise InputError(f"expected probe and gallery features (N, d), found {shapes}")
    if not (torch.isfinite(probe).all() and torch.isfinite(gallery).all()):
        raise InputError("the features hold NaN or infinite values")
    if isinstance(offset := far_offset(gallery, 1e8), Tensor):
        probe, gallery = probe - offset, gallery - offset
    # Equal gallery rows must be at equal distances (average precision depends on ties), which a
    # matrix product does not promise: a copy takes the distances of the row that it repeats.
    _, index, inverse = np.unique(gallery.cpu(), axis=0, return_index=True, return_inverse=True)
    original = index[inverse]  # (G,)
    copies = np.flatnonzero(original != np.arange(len(gallery)))
    squares = gallery.square().sum(dim=1)

    def distances(rows: Tensor) -> Tensor:
        # Squared, and less the probe's own |p|^2: the order within a row is all that matters.
        d = torch.addmm(squares[None, :], probe[rows], gallery.T, alpha=-2.0)
        d[:, copies] = d[:, original[copies]]
        return d

    sizes = (len(probe), len(gallery))
    return _ranks(distances, sizes, probe_ids, gallery_ids, exclude_self, released)


def evaluate_distances(distances, probe_ids, gallery_ids, exclude_self: bool = False,
                       released: bool = False) -> dict:
    """Retrieval figures of a (P, G) array of distances; everything else as in `evaluate`."""
    matrix = torch.as_tensor(unmasked(distances))
    if matrix.ndim != 2 or torch.isnan(matrix).any():
        raise InputError(f"expected distances (P, G) without NaN, found {tuple(matrix.shape)}")
    where = probe_ids, gallery_ids, exclude_self, released
    ranked = _ranks(lambda rows: matrix[rows], tuple(matrix.shape), *where)
    return _figures(*ranked, matrix.shape[1], released)


def _ranks(distances: Callable[[Tensor], Tensor], sizes: tuple[int, int], probe_ids, gallery_ids,
           exclude_self: bool, released: bool) -> tuple[np.ndarray, np.ndarray]:
    """`ranks` from the distances (R, G) of some probes (R,) to the gallery. sizes: P, G."""
    probe_ids, gallery_ids = (torch.as_tensor(x).cpu().numpy() for x in (probe_ids, gallery_ids))
    found = (len(probe_ids), len(gallery_ids))
    if found != sizes:
        raise InputError(f"expected {sizes} probe and gallery labels, found {found}")
    if 0 in sizes:
        raise InputError(f"nothing to rank: {sizes[0]} probes, {sizes[1]} gallery sequences")
    if (exclude_self or released) and not np.array_equal(probe_ids, gallery_ids):
        raise InputError("self matches can be left out only if probe and gallery are the same set")

    def block(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        rank = torch.full((len(rows),), torch.inf, dtype=torch.float64)  # of the best match, from 1
        precision = torch.full_like(rank, torch.nan)
        d = distances(torch.from_numpy(rows))
        if exclude_self:
            d[np.arange(len(rows)), rows] = torch.inf
        ranked = _sorted_rows(d)
        persons, starts = np.unique(probe_ids[rows], return_index=True)
        for person, start, stop in zip(persons, starts, [*starts[1:], len(rows)], strict=True):
            columns = torch.from_numpy(np.flatnonzero(gallery_ids == person)).to(d.device)
            if len(columns):
                of_person = _rank(d[start:stop], ranked[start:stop], columns, skip_first=released)
                rank[start:stop], precision[start:stop] = of_person
        return rank, precision

    order = np.argsort(probe_ids, kind="stable")  # by person
    blocks = np.array_split(order, -(-sizes[0] * sizes[1] // BLOCK_CELLS))
    back = np.argsort(order)
    return tuple(part.numpy()[back] for part in processes.divided(block, blocks))


def _figures(rank: np.ndarray, precision: np.ndarray, gallery: int, released: bool) -> dict:
    known = precision[int(released):]
    known = known[~np.isnan(known)]
    figures = {f"top{k}": float((rank <= k).mean()) for k in TOP}
    if not len(known):
        warnings.warn("no probe has a match in the gallery: there is no mAP", stacklevel=3)
    figures["mAP"] = float(known.mean()) if len(known) else math.nan
    return figures | {"probes": len(rank), "gallery": gallery}


def _rank(d: Tensor, ranked: Tensor, columns: Tensor, skip_first: bool) -> tuple[Tensor, Tensor]:
    """Rank of the best match (R,) and average precision (R,) of probes that share their matches.

    d: (R, G) distances, infinite where a pair is left out; ranked: its rows sorted; columns: (M,)
    the matches. AP = mean over matches p of |{matches: d <= d_p}| / |{all: d <= d_p}|, which is
    scikit-learn's with score -d. skip_first: as released, the rank passes over what ranks first.
    """
    matches, order = torch.sort(d[:, columns], dim=1, stable=True)  # (R, M)
    nearer = torch.searchsorted(ranked, matches, right=True)  # |{all: d <= d_p}|
    among = torch.searchsorted(matches, matches, right=True)  # |{matches: d <= d_p}|
    share = torch.where(torch.isfinite(matches), among.double() / nearer, torch.nan)
    precision = share.nanmean(dim=1)  # NaN where every match is left out

    # Ranks by distance, then column: of the best match, and of the second if the first may go.
    best = matches[:, :1 + skip_first].contiguous()  # (R, 1 or 2)
    rank = torch.searchsorted(ranked, best) + 1
    probe, place = (nearer[:, :best.shape[1]] > rank).nonzero(as_tuple=True)
    if len(probe):  # something else is as near: what stands before the match counts
        column = columns[order[probe, place]]
        before = torch.arange(d.shape[1], device=d.device) < column[:, None]
        rank[probe, place] += ((d[probe] == best[probe, place, None]) & before).sum(dim=1)
    rank = torch.where(torch.isfinite(best), rank.double(), torch.inf)
    first = rank[:, 0]
    if skip_first:
        second = functional.pad(rank, (0, 1), value=torch.inf)[:, 1]  # infinite if there is none
        first = torch.where(first == 1, second, first) - 1
    return first, precision


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
