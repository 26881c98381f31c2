"""Retrieval: each probe ranks the gallery by Euclidean distance; top-1, top-5, top-10 and mAP.

What counts is how many gallery features are nearer than each match: distances are counted in
buckets, and only what is in the bucket of a match is sorted. Nothing is P x G.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.numbers import unmasked
from skeleton_reid.reid.neighbours import far_offset

BLOCK_CELLS = 1 << 22  # distances that a thread holds at once
BUCKETS = 8192  # of distances, between the nearest match and the farthest
TOP = (1, 5, 10)


def evaluate(probe, probe_ids, gallery, gallery_ids, exclude_self: bool = False,
             released: bool = False) -> dict:
    """Retrieval metrics of features; arguments and errors as of `ranks`.

    Returns a dict with top1, top5, top10, mAP (shares in [0, 1]), probes and gallery (counts).
    Probes whose person is not in the gallery count as misses in top-k and are left out of mAP; if
    none is left mAP is NaN, with a warning.
    """
    ranked = ranks(probe, probe_ids, gallery, gallery_ids, exclude_self, released)
    return _metrics(*ranked, len(gallery), released)


def ranks(probe, probe_ids, gallery, gallery_ids, exclude_self: bool = False,
          released: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Each probe's rank of its nearest match, from 1 on, and its average precision, (P,) float64;
    inf and NaN if its person is not in the gallery.

    probe: (P, d), gallery: (G, d), arrays or tensors; probe_ids: (P,), gallery_ids: (G,) person
    labels. exclude_self: probe and gallery are one set, and a sequence never matches itself.
    released: the released metrics for one set instead (docs/05-fidelity.md, self-match).
    Raises InputError for NaN, empty sets or shapes that do not agree.
    """
    probe, gallery = (torch.as_tensor(unmasked(x)).double() for x in (probe, gallery))
    shapes = tuple(probe.shape), tuple(gallery.shape)
    if not len(shapes[0]) == len(shapes[1]) == 2 or shapes[0][1] != shapes[1][1]:
        raise InputError(f"expected probe and gallery features (N, d), found {shapes}")
    if not all((x.abs() < 1e150).all() for x in (probe, gallery)):
        raise InputError("the features hold NaN, infinite values or ones over 1e150")
    if isinstance(offset := far_offset(gallery, 1e8), Tensor):
        probe, gallery = probe - offset, gallery - offset
    # Copies are one column, as a product's rounding depends on the place: they are equally near.
    single, column = gallery.unique(dim=0, return_inverse=True)
    if len(single) == len(gallery):  # to reorder P x G distances takes as long as to count them
        single, column = gallery, slice(None)
    squares = single.square().sum(dim=1)

    def distances(rows: Tensor) -> Tensor:  # |g|^2 - 2 <p, g>
        return torch.addmm(squares, probe[rows], single.T, alpha=-2)[:, column]

    sizes = len(probe), len(gallery)
    return _ranks(distances, sizes, probe_ids, gallery_ids, exclude_self, released)


def evaluate_distances(distances, probe_ids, gallery_ids, exclude_self: bool = False,
                       released: bool = False) -> dict:
    """Retrieval metrics of a (P, G) array of distances; everything else as in `evaluate`."""
    matrix = torch.as_tensor(unmasked(distances)).double().cpu()
    bad = ~((matrix.abs() < 1e300) | (matrix == math.inf))  # what cannot be subtracted
    if matrix.ndim != 2 or bad.any():
        raise InputError("expected distances (P, G) below 1e300 or inf, found "
                         f"{tuple(matrix.shape)}, {int(bad.sum())} of them NaN or beyond")
    ranked = _ranks(lambda rows: matrix[rows], tuple(matrix.shape), probe_ids, gallery_ids,
                    exclude_self, released)
    return _metrics(*ranked, matrix.shape[1], released)


def _ranks(distances: Callable[[Tensor], Tensor], sizes: tuple[int, int], probe_ids, gallery_ids,
           exclude_self: bool, released: bool) -> tuple[np.ndarray, np.ndarray]:
    """`ranks` by what grows with the distance, of the numbers of R probes (R, G). sizes: P, G."""
    probe_ids, gallery_ids = (torch.as_tensor(x).cpu().numpy() for x in (probe_ids, gallery_ids))
    if (found := (len(probe_ids), len(gallery_ids))) != sizes:
        raise InputError(f"expected {sizes} probe and gallery labels, found {found}")
    if 0 in sizes:
        raise InputError(f"nothing to rank: {sizes[0]} probes, {sizes[1]} gallery sequences")
    if (exclude_self or released) and not np.array_equal(probe_ids, gallery_ids):
        raise InputError("self matches can be left out only if probe and gallery are the same set")

    def block(rows: np.ndarray) -> tuple[Tensor]:
        ranked = []
        for i, row in zip(rows, distances(torch.from_numpy(rows)).cpu().numpy(), strict=True):
            if exclude_self:
                row[i] = np.inf
            ranked.append(_rank(row, (gallery_ids == probe_ids[i]) & (row < np.inf)))
        return (torch.tensor(ranked, dtype=torch.float64),)

    blocks = np.array_split(np.arange(sizes[0]), -(-sizes[0] * sizes[1] // BLOCK_CELLS))
    nearest, second, precision = processes.divided(block, blocks, threads=True)[0].numpy().T
    if released:  # the rank passes over what ranks first
        return np.where(nearest == 1, second, nearest) - 1, precision
    return nearest, precision


def _rank(d: np.ndarray, match: np.ndarray) -> tuple[float, float, float]:
    """Of one probe the ranks of its nearest match and the second, and the average precision, the
    mean over matches m of |{matches: d <= d_m}| / |{all: d <= d_m}|; inf and NaN where none is.

    d: distances (G,). match: (G,) bool.
    """
    own = d[match]
    if not len(own):
        return math.inf, math.inf, math.nan
    low, width = own.min(), max(np.ptp(own) / (BUCKETS - 4), 1e-200)

    def bucket(distances: np.ndarray) -> np.ndarray:
        return ((distances - low) / width + 1).clip(0, BUCKETS - 1).astype(np.int64)

    place, holds_match = bucket(d), np.zeros(BUCKETS, dtype=bool)
    holds_match[bucket(own)] = True
    counts = np.where(holds_match, 0, np.bincount(place, minlength=BUCKETS)).cumsum()
    columns = np.flatnonzero(holds_match[place])
    columns = columns[d[columns].argsort(kind="stable")]
    d = d[columns]
    mine = np.flatnonzero(match[columns])
    nearer = counts[place[columns[mine]]]  # in the buckets without a match
    rank = [*(nearer + mine + 1), math.inf]
    last = np.searchsorted(d, d[mine], side="right")  # equal distances are equally near
    precision = np.searchsorted(mine, last) / (nearer + last)
    return rank[0], rank[1], precision.mean()


def _metrics(rank: np.ndarray, precision: np.ndarray, gallery: int, released: bool) -> dict:
    known = precision[int(released):]
    known = known[~np.isnan(known)]
    metrics = {f"top{k}": float((rank <= k).mean()) for k in TOP}
    if not len(known):
        warnings.warn("no probe has a match in the gallery: there is no mAP", stacklevel=3)
    metrics["mAP"] = float(known.mean()) if len(known) else math.nan
    return metrics | {"probes": len(rank), "gallery": gallery}
