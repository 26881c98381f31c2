"""Tracklets that training windows tell by themselves."""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from skeleton_reid.common import processes

PAIRS = 1 << 25  # skeletons compared at a time


def _nearest_of_others(queries: Tensor, points: Tensor) -> Tensor:
    """Number (N,) of the point nearest to each query, but its own; (N, d) both."""
    def nearest(query: Tensor, own: Tensor) -> tuple[Tensor]:
        distances = torch.cdist(query, points)
        return distances.scatter_(1, own[:, None], torch.inf).argmin(dim=1),

    rows = max(1, PAIRS // len(points))
    blocks = queries.split(rows), torch.arange(len(queries), device=queries.device).split(rows)
    return processes.divided(nearest, *blocks)[0]


def link_windows(skeletons: Tensor) -> Tensor:
    """Numbers (N,) of tracklets that windows (N, f, J, 3) tell by themselves: chains of windows.

    Recordings are cut into windows one after another. So window b goes on from a, if the last
    skeleton of a and the first of b are each other's nearest, the gap between them at most three
    times the median one. Copies of a window, of which published training sets have many, are one.
    """
    last, first = skeletons[:, -1].flatten(1), skeletons[:, 0].flatten(1)  # (N, 3 J)
    following, before = _nearest_of_others(last, first), _nearest_of_others(first, last)
    own = torch.arange(len(last), device=last.device)
    mutual, gaps = before[following] == own, (last - first[following]).norm(dim=1)
    linked = mutual & (gaps <= 3 * gaps[mutual].median())
    copies = len(own) + skeletons.flatten(1).unique(dim=0, return_inverse=True)[1]  # nodes, (N,)
    edges = torch.cat([own[linked], own]).cpu(), torch.cat([following[linked], copies]).cpu()
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(2 * len(own), 2 * len(own)))
    return torch.from_numpy(connected_components(graph, directed=False)[1]).to(own)[:len(own)]
