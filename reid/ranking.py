"""Retrieval: every probe ranks the gallery by Euclidean distance; top-1, top-5, top-10 and mAP.

Only how many gallery features are nearer than each match counts: products in float32 tell it where
their rounding cannot matter, products in float64 elsewhere. No row is sorted, nothing is P x G.
"""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.numbers import unmasked
from skeleton_reid.reid.neighbours import far_offset

BLOCK_CELLS = 1 << 23  # distances that a thread holds at once
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
    released: the released metrics for one set instead (docs/5-fidelity.md, self-match).
    Raises InputError for NaN, empty sets or shapes that do not agree.
    """
    probe, gallery = (torch.as_tensor(unmasked(x)).double() for x in (probe, gallery))
    shapes = tuple(probe.shape), tuple(gallery.shape)
    if not len(shapes[0]) == len(shapes[1]) == 2 or shapes[0][1] != shapes[1][1]:
        raise InputError(f"expected probe and gallery features (N, d), found {shapes}")
    if not (torch.isfinite(probe).all() and torch.isfinite(gallery).all()):
        raise InputError("the features hold NaN or infinite values")
    if isinstance(offset := far_offset(gallery, 1e8), Tensor):
        probe, gallery = probe - offset, gallery - offset
    norms = [x.square().sum(dim=1).sqrt() for x in (probe, gallery)]
    small = torch.float64 if (torch.cat(norms) > 1e15).any() else torch.float32
    # A sum of d products, in any order, is off by at most d u |p| |g|; float32 adds 2 u |p| |g| for
    # features in float64, and loses what is near zero. Twice that, as d is |g|^2 - 2 <p, g>.
    error = 2 * (probe.shape[1] + 8) * torch.finfo(small).eps / 2
    off = tuple((error**0.5 * x + 1e-15).cpu().numpy() for x in norms)
    exact = [x.cpu().numpy() for x in (probe, gallery)]
    p, g = probe.to(small), gallery.to(small).T
    sizes = (len(probe), len(gallery))
    where = probe_ids, gallery_ids, exclude_self, released
    return _ranks(lambda rows: p[rows] @ g, sizes, *where, off, exact)


def evaluate_distances(distances, probe_ids, gallery_ids, exclude_self: bool = False,
                       released: bool = False) -> dict:
    """Retrieval metrics of a (P, G) array of distances; everything else as in `evaluate`."""
    matrix = torch.as_tensor(unmasked(distances))
    if matrix.ndim != 2 or torch.isnan(matrix).any():
        raise InputError(f"expected distances (P, G) without NaN, found {tuple(matrix.shape)}")
    where = probe_ids, gallery_ids, exclude_self, released
    ranked = _ranks(lambda rows: matrix[rows].double() / -2, tuple(matrix.shape), *where)
    return _metrics(*ranked, matrix.shape[1], released)


def _ranks(
    products: Callable[[Tensor],
                       Tensor], sizes: tuple[int, int], probe_ids, gallery_ids, exclude_self: bool,
    released: bool, off: Sequence[np.ndarray] = (), exact: Sequence[np.ndarray] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """`ranks` from the products (R, G) of some probes (R,) with the gallery. sizes: P, G.

    exact: the features, if products may be off, by at most off[0][i] * off[1][j]; without them
    products are distances / -2.
    """
    from skeleton_reid.reid import ranking_loops

    probe_ids, gallery_ids = (torch.as_tensor(x).cpu().numpy() for x in (probe_ids, gallery_ids))
    found = (len(probe_ids), len(gallery_ids))
    if found != sizes:
        raise InputError(f"expected {sizes} probe and gallery labels, found {found}")
    if 0 in sizes:
        raise InputError(f"nothing to rank: {sizes[0]} probes, {sizes[1]} gallery sequences")
    if (exclude_self or released) and not np.array_equal(probe_ids, gallery_ids):
        raise InputError("self matches can be left out only if probe and gallery are the same set")
    off = off or tuple(np.zeros(size) for size in sizes)
    exact = exact or [np.empty((size, 0)) for size in sizes]
    filled = (0, 0), (0, -exact[0].shape[1] % ranking_loops.LANES)
    probe, gallery = (np.pad(x, filled) for x in exact)
    squares = ranking_loops.squares(gallery)
    columns = np.argsort(gallery_ids, kind="stable")  # by person
    own = [np.searchsorted(gallery_ids[columns], probe_ids, side) for side in ("left", "right")]

    def block(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        rank, precision = np.full((len(rows), 2), np.inf), np.full(len(rows), np.nan)
        near = products(torch.from_numpy(rows)).cpu().numpy()
        if exclude_self:
            near[np.arange(len(rows)), rows] = -np.inf
        ranking_loops.rank_rows(rows, near, off, probe, gallery, squares, (columns, *own), rank,
                                precision)
        return torch.from_numpy(rank), torch.from_numpy(precision)

    blocks = np.array_split(np.arange(sizes[0]), -(-sizes[0] * sizes[1] // BLOCK_CELLS))
    rank, precision = (x.numpy() for x in processes.divided(block, blocks, threads=True))
    if released:  # the rank passes over what ranks first
        return np.where(rank[:, 0] == 1, rank[:, 1], rank[:, 0]) - 1, precision
    return rank[:, 0], precision


def _metrics(rank: np.ndarray, precision: np.ndarray, gallery: int, released: bool) -> dict:
    known = precision[int(released):]
    known = known[~np.isnan(known)]
    metrics = {f"top{k}": float((rank <= k).mean()) for k in TOP}
    if not len(known):
        warnings.warn("no probe has a match in the gallery: there is no mAP", stacklevel=3)
    metrics["mAP"] = float(known.mean()) if len(known) else math.nan
    return metrics | {"probes": len(rank), "gallery": gallery}
