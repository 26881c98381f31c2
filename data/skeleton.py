"""Skeleton graphs at five scales: hyper-joint I, joint J, part P, body B, hyper-body H.

Every node is the mean of some joints; every graph is small, so it is kept as a dense matrix.
"""

from functools import cache

import numpy as np

from common.errors import InputError

SCALES = ("I", "J", "P", "B", "H")

# Number of joints -> bones, and the joints of every node: parts (left thigh, left shank, right
# thigh, right shank, torso, head, left upper arm, left forearm, right upper arm, right forearm),
# bodies (left leg, right leg, torso, left arm, right arm) and hyper-bodies (upper, middle, lower).
_TABLE = {
    20: {
        "J": "3-2 2-8 8-9 9-10 10-11 2-4 4-5 5-6 6-7 2-1 1-0 0-16 0-12 16-17 12-13 17-18 18-19 "
        "13-14 14-15", "P": "12,13 14,15 16,17 18,19 0,1 2,3 4,5 6,7 8,9 10,11",
        "B": "12,13,14,15 16,17,18,19 0,1,2,3 4,5,6,7 8,9,10,11",
        "H": "1,2,3,4,5,6,7,8,9,10,11 0 12,13,14,15,16,17,18,19"
    }, 25: {
        "J": "3-2 20-8 8-9 9-10 10-11 20-4 4-5 5-6 6-7 20-1 1-0 0-16 0-12 16-17 12-13 17-18 18-19 "
        "13-14 14-15 2-20 11-23 10-24 7-21 6-22",
        "P": "12,13 14,15 16,17 18,19 0,1 2,3,20 4,5 6,7,21,22 8,9 10,11,23,24",
        "B": "12,13,14,15 16,17,18,19 0,1,2,3,20 4,5,6,7,21,22 8,9,10,11,23,24",
        "H": "1,2,3,4,5,6,7,8,9,10,11,20,21,22,23,24 0 12,13,14,15,16,17,18,19"
    }, 14: {
        "J": "0-1 1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13",
        "P": "11 12,13 8 9,10 1 0 5 6,7 2 3,4", "B": "11,12,13 8,9,10 0,1 5,6,7 2,3,4",
        "H": "0,1,2,3,4,5,6,7 8,11 9,10,12,13"
    }
}
# Edges between the groups of joints above.
_EDGES = {"P": "5-6 5-8 6-7 8-9 5-4 4-2 4-0 2-3 1-0", "B": "2-0 2-1 2-3 2-4", "H": "0-1 1-2"}


def scales(skeletons, names=SCALES):
    """Node positions (B, f, nodes, 3) by scale: I (2J-1 nodes), J, P (10), B (5), H (3).

    skeletons (B, f, J, 3): a numpy array or a torch tensor with J = 20, 25 or 14 joints; what comes
    out is of the same kind, type and device. InputError for another number of joints.
    """
    # A tensor makes its like itself: numpy's users need no torch.
    like = getattr(skeletons, "new_tensor", lambda weights: weights.astype(skeletons.dtype))
    weights = {scale: averaging(scale, int(skeletons.shape[-2])) for scale in names}
    return {s: skeletons if s == "J" else like(own) @ skeletons for s, own in weights.items()}


@cache
def averaging(scale: str, joints: int) -> np.ndarray:
    """The read-only (nodes, joints) float64 matrix that turns joint into node positions."""
    row, weights = _row(scale, joints), np.eye(joints)
    if scale == "I":
        weights = np.concatenate([weights, weights[_bones(joints)].mean(axis=1)])
    elif scale != "J":
        groups = [[int(joint) for joint in group.split(",")] for group in row.split()]
        weights = np.stack([weights[group].mean(axis=0) for group in groups])
    weights.setflags(write=False)
    return weights


def adjacency(scale: str, joints: int) -> np.ndarray:
    """The (nodes, nodes) int8 adjacency matrix of a scale: symmetric, no self-loops."""
    nodes = len(averaging(scale, joints))
    if scale == "I":  # a midpoint takes the place of its bone: it is joined to both ends
        ends = _bones(joints).T.ravel()
        edges = np.stack([ends, np.tile(np.arange(joints, nodes), 2)], axis=1)
    else:
        edges = _bones(joints) if scale == "J" else _edges(_EDGES[scale])
    matrix = np.zeros((nodes, nodes), dtype=np.int8)
    matrix[edges[:, 0], edges[:, 1]] = matrix[edges[:, 1], edges[:, 0]] = 1
    return matrix


def bias(scale: str, joints: int, n_hood: int = 1, global_att: bool = False) -> np.ndarray:
    """Attention bias (nodes, nodes) float32: 0 between nodes at most `n_hood` edges apart, else
    -1e9; with `global_att`, 0 everywhere. InputError for n_hood below 1.

    n_hood counts in the joint and the hyper-body graph; in the others it is always 1.
    """
    if n_hood < 1:
        raise InputError(f"n_hood: expected at least 1 edge, found {n_hood}")
    step = adjacency(scale, joints).astype(bool)
    np.fill_diagonal(step, True)
    near = step | bool(global_att)
    for _ in range(min(n_hood, len(step)) - 1 if scale in ("J", "H") else 0):
        near = near @ step  # boolean: whether any path reaches that far
    return np.where(near, np.float32(0), np.float32(-1e9))


def _row(scale: str, joints: int) -> str:
    """The table's entry; I is made from that of J."""
    if joints not in _TABLE:
        raise InputError(f"expected skeletons of {[*_TABLE]} joints, found {joints}")
    if scale not in SCALES:
        raise InputError(f"unknown scale {scale!r}; choose one of {', '.join(SCALES)}")
    return _TABLE[joints]["J" if scale == "I" else scale]


def _edges(text: str) -> np.ndarray:
    """ "3-2 2-8" -> (edges, 2)."""
    return np.array([[int(node) for node in edge.split("-")] for edge in text.split()])


def _bones(joints: int) -> np.ndarray:
    """The bones (J-1, 2), i < j, as a scan of the adjacency matrix by rows meets them."""
    bones = np.sort(_edges(_row("J", joints)), axis=1)
    return bones[np.lexsort((bones[:, 1], bones[:, 0]))]
