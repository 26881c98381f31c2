"""Skeleton graphs at five scales: hyper-joint I, joint J, part P, body B, hyper-body H.

Every node is the mean of some joints; every graph is small, so it is kept as a dense matrix.
"""

from functools import cache

import numpy as np

from common.errors import InputError

SCALES = ("I", "J", "P", "B", "H")

_BONES_20 = (
    "3-2 2-8 8-9 9-10 10-11 2-4 4-5 5-6 6-7 2-1 1-0 0-16 0-12 16-17 12-13 17-18 18-19 13-14 14-15"
)
_BONES_25 = (
    "3-2 20-8 8-9 9-10 10-11 20-4 4-5 5-6 6-7 20-1 1-0 0-16 0-12 16-17 12-13 17-18 18-19 13-14 14-15 2-20 "
    "11-23 10-24 7-21 6-22"
)
_BONES_14 = "0-1 1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13"
# Edges between the groups of joints below.
_EDGES = {"P": "5-6 5-8 6-7 8-9 5-4 4-2 4-0 2-3 1-0", "B": "2-0 2-1 2-3 2-4", "H": "0-1 1-2"}

# Number of joints -> bones, and the joints of every node: parts (left thigh, left shank, right
# thigh, right shank, torso, head, left upper arm, left forearm, right upper arm, right forearm),
# bodies (left leg, right leg, torso, left arm, right arm) and hyper-bodies (upper, middle, lower).
_TABLE = {
    20: {
        "J": _BONES_20,
        "P": "12,13 14,15 16,17 18,19 0,1 2,3 4,5 6,7 8,9 10,11",
        "B": "12,13,14,15 16,17,18,19 0,1,2,3 4,5,6,7 8,9,10,11",
        "H": "1,2,3,4,5,6,7,8,9,10,11 0 12,13,14,15,16,17,18,19",
    },
    25: {
        "J": _BONES_25,
        "P": "12,13 14,15 16,17 18,19 0,1 2,3,20 4,5 6,7,21,22 8,9 10,11,23,24",
        "B": "12,13,14,15 16,17,18,19 0,1,2,3,20 4,5,6,7,21,22 8,9,10,11,23,24",
        "H": "1,2,3,4,5,6,7,8,9,10,11,20,21,22,23,24 0 12,13,14,15,16,17,18,19",
    },
    14: {
        "J": _BONES_14,
        "P": "11 12,13 8 9,10 1 0 5 6,7 2 3,4",
        "B": "11,12,13 8,9,10 0,1 5,6,7 2,3,4",
        "H": "0,1,2,3,4,5,6,7 8,11 9,10,12,13",
    },
}


def scales(skeletons):
    """Node positions at every scale: dict I (2J-1 nodes), J, P (10), B (5), H (3) of (B, f, nodes,
    3).

    skeletons (B, f, J, 3): a numpy array or a torch tensor with J = 20, 25 or 14 joints; what comes
    out is of the same kind, type and device. InputError for another number of joints.
    """
    joints = skeletons.shape[-2]
    return {
        scale: skeletons if scale == "J" else _means(averaging(scale, joints), skeletons)
        for scale in SCALES
    }


def _means(weights: np.ndarray, skeletons):
    """(nodes, J) @ (B, f, J, 3) -> (B, f, nodes, 3), without an import of torch for numpy's
    sake.
    """
    if isinstance(skeletons, np.ndarray):
        return weights.astype(skeletons.dtype) @ skeletons
    return skeletons.new_tensor(weights) @ skeletons


@cache
def averaging(scale: str, joints: int) -> np.ndarray:
    """The (nodes, joints) float64 matrix that turns joint positions into node positions;
    read-only.
    """
    if scale == "J":
        weights = np.eye(joints)
    elif scale == "I":
        bones = np.eye(joints)[_bones_in_scan_order(joints)].mean(axis=1)  # (bones, joints)
        weights = np.concatenate([np.eye(joints), bones])
    else:
        groups = [
            [int(joint) for joint in group.split(",")] for group in _row(scale, joints).split()
        ]
        weights = np.stack([np.eye(joints)[group].mean(axis=0) for group in groups])
    weights.setflags(write=False)
    return weights


def adjacency(scale: str, joints: int) -> np.ndarray:
    """The (nodes, nodes) int8 adjacency matrix of a scale: symmetric, no self-loops."""
    if scale == "I":
        # A midpoint takes the place of its bone: it is joined to both ends, the ends no more to
        # each other.
        bones = _bones_in_scan_order(joints)
        middles = joints + np.arange(len(bones))
        edges = np.concatenate([np.stack([bones[:, end], middles], axis=1) for end in (0, 1)])
        return _symmetric(edges, joints + len(bones))
    if scale == "J":
        return _symmetric(_edges(_row("J", joints)), joints)
    groups = _row(scale, joints).split()
    return _symmetric(_edges(_EDGES[scale]), len(groups))


def bias(scale: str, joints: int, n_hood: int = 1, global_att: bool = False) -> np.ndarray:
    """Attention bias (nodes, nodes) float32: 0 between nodes at most `n_hood` edges apart, -1e9
    elsewhere.

    n_hood counts in the joint and the hyper-body graph; in the others it is always 1. With
    `global_att`, 0 everywhere. InputError for n_hood below 1.
    """
    if n_hood < 1:
        raise InputError(f"n_hood: expected at least 1 edge, found {n_hood}")
    edges = adjacency(scale, joints)
    if global_att:
        return np.zeros(edges.shape, dtype=np.float32)
    step = edges.astype(bool) | np.eye(len(edges), dtype=bool)
    near = step
    for _ in range(min(n_hood, len(edges)) - 1 if scale in ("J", "H") else 0):
        near = near @ step  # boolean: whether any path reaches that far
    return np.where(near, np.float32(0), np.float32(-1e9))


def _row(scale: str, joints: int) -> str:
    if joints not in _TABLE:
        raise InputError(
            f"expected skeletons of {', '.join(map(str, _TABLE))} joints, found {joints}"
        )
    if scale not in _TABLE[joints]:
        raise InputError(f"unknown scale {scale!r}; choose one of {', '.join(SCALES)}")
    return _TABLE[joints][scale]


def _edges(text: str) -> np.ndarray:
    """ "3-2 2-8" -> (edges, 2)."""
    return np.array([[int(node) for node in edge.split("-")] for edge in text.split()])


def _bones_in_scan_order(joints: int) -> np.ndarray:
    """The bones (J-1, 2) as a scan over rows i and columns j > i of the adjacency matrix meets
    them.
    """
    return np.argwhere(np.triu(adjacency("J", joints)))


def _symmetric(edges: np.ndarray, nodes: int) -> np.ndarray:
    matrix = np.zeros((nodes, nodes), dtype=np.int8)
    matrix[edges[:, 0], edges[:, 1]] = matrix[edges[:, 1], edges[:, 0]] = 1
    return matrix
