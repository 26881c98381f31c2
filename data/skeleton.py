"""Skeletons, which are files of data/skeletons/, and their graphs at five scales: hyper-joint I,
joint J, part P, body B, hyper-body H.

Every node is the mean of some joints; every graph is small, so it is kept as a dense matrix.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.yaml_files import expected_one, read_yaml

SCALES = ("I", "J", "P", "B", "H")
SAME_EIGENVALUE, SHORTEST = 1e-9, 1e-6  # of `positions`
FOLDER = Path(__file__).parent / "skeletons"
PUBLISHED = {20: "kinect_v1", 25: "kinect_v2", 14: "casia_b"}  # by their number of joints
GROUPS = {"P": "parts", "B": "bodies", "H": "hyper_bodies"}
LANDMARKS = ("head", "neck", "spine", "hip_center", "left_shoulder", "left_elbow", "left_wrist",
             "left_hip", "left_knee", "left_foot", "right_shoulder", "right_elbow", "right_wrist",
             "right_hip", "right_knee", "right_foot")
Joints = tuple[str, ...]  # several stand for their mean
Pairs = tuple[tuple[str, str], ...]


class Skeleton(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Joints by name, and what they form; a file of its own (docs/09-own-data.md)."""

    name: str  # by default that of the file
    joints: tuple[str, ...]  # in the order of the arrays
    root: Joints  # the origin of centred skeletons
    bones: Pairs
    pairs: Pairs = ()  # left, right
    parts: dict[str, Joints] = {}
    bodies: dict[str, Joints] = {}
    hyper_bodies: dict[str, Joints] = {}
    part_edges: Pairs = ()  # by default parts are joined where a bone joins them
    landmarks: dict[str, Joints] = {}  # of LANDMARKS, for descriptors

    def __post_init__(self):
        """ValueError for one joint, one that is named twice and a name that is no joint."""
        if len(self.joints) < 2:
            raise ValueError(f"joints: expected two or more, found {len(self.joints)}")
        if twice := [joint for joint in self.joints if self.joints.count(joint) > 1]:
            raise ValueError(f"joints: expected every joint once, found {twice[0]!r} twice")
        groups = {"root": [self.root], "bones": self.bones, "pairs": self.pairs}
        groups |= {key: getattr(self, key).values() for key in (*GROUPS.values(), "landmarks")}
        named = [(key, joint, self.joints) for key, several in groups.items() for joints in several
                 for joint in joints]
        named += [("landmarks", name, LANDMARKS) for name in self.landmarks]
        named += [("part_edges", part, self.parts) for edge in self.part_edges for part in edge]
        for key, name, allowed in named:
            if name not in allowed:
                raise ValueError(f"{key}: {expected_one(name, allowed)}")

    def __len__(self) -> int:
        return len(self.joints)

    def values(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return msgspec.to_builtins(self)

    def numbers(self, joints: Joints) -> list[int]:
        """The places of joints in the arrays."""
        return [self.joints.index(joint) for joint in joints]

    def mean(self, joints: Joints, skeletons: np.ndarray) -> np.ndarray:
        """The mean position of joints, (..., J, 3) -> (..., 1, 3)."""
        return skeletons[..., self.numbers(joints), :].mean(axis=-2, keepdims=True)

    def without(self, ignored: Collection[str]) -> "Skeleton":
        """The same without these joints: those that one joined are joined to each other.

        ValueError for other names, and where the root is left without a joint.
        """
        for joint in ignored:
            if joint not in self.joints:
                raise ValueError(f"ignore: {expected_one(joint, self.joints)}")
        bones = list(self.bones)
        for joint in ignored:
            ends = [end for bone in bones if joint in bone for end in bone if end != joint]
            bones = [bone for bone in bones if joint not in bone]
            bones += [(ends[0], other) for other in ends[1:]]

        def kept(joints: Iterable[str]) -> Joints:
            return tuple(joint for joint in joints if joint not in ignored)

        if not kept(self.root):
            raise ValueError(f"ignore: expected a joint of the root, {self.root}, to be kept")
        changes = {
            key: {name: kept(own) for name, own in getattr(self, key).items() if kept(own)}
            for key in (*GROUPS.values(), "landmarks")
        }
        parts = changes["parts"].keys()
        changes["part_edges"] = tuple(edge for edge in self.part_edges if parts >= {*edge})
        changes["pairs"] = tuple(pair for pair in self.pairs if kept(pair) == pair)
        return msgspec.structs.replace(self, name=f"{self.name} without {', '.join(ignored)}",
                                       joints=kept(self.joints), root=kept(self.root),
                                       bones=tuple(bones), **changes)

    def places_in(self, names: Sequence[str]) -> list[int]:
        """Where a file that names its joints has each of these, -1 for none. ValueError for other
        names, unless most are known and all of those are in their places.
        """
        theirs, ours = list(map(letters, names)), list(map(letters, self.joints))
        known = set(theirs) & set(ours)
        if known and known in (set(theirs), set(ours)):
            return [theirs.index(joint) if joint in known else -1 for joint in ours]
        in_place = [pair for pair in zip(theirs, ours, strict=False) if pair[0] == pair[1]]
        if len(theirs) == len(ours) <= 2 * len(in_place) and len(in_place) == len(known):
            return list(range(len(ours)))
        others = [name for name in names if letters(name) not in known]
        raise ValueError(
            f"{len(theirs)} joints by names, among them {', '.join(others[:4])}, which "
            f"is no joint of {self.name}")

    def bone_numbers(self) -> np.ndarray:
        """The bones (bones, 2), i < j, as a scan of the adjacency matrix by rows meets them."""
        return np.array(sorted(sorted(self.numbers(bone)) for bone in self.bones))


@cache
def letters(name: str) -> str:
    """A name without the signs between its words, in lower case."""
    return re.sub(r"[\W_]", "", name.lower())


@cache
def read(name: str | Path) -> Skeleton:
    """A shipped skeleton by name, or that of a file. InputError for another name or a bad file."""
    if not str(name).endswith((".yaml", ".yml")):
        shipped = sorted(path.stem for path in FOLDER.glob("*.yaml"))
        if name not in shipped:
            raise InputError(f"skeleton: {expected_one(str(name), shipped)}, or a FILE.yaml")
        name = FOLDER / f"{name}.yaml"
    return read_yaml(Path(name), Skeleton)


def restore(values: Mapping[str, Any]) -> Skeleton:
    """The skeleton of plain values, those of `Skeleton.values`."""
    return msgspec.convert(values, Skeleton)


def get(joints: int | Skeleton) -> Skeleton:
    """The skeleton, also of published data with this many joints. InputError for other numbers."""
    if isinstance(joints, Skeleton):
        return joints
    if joints not in PUBLISHED:
        raise InputError(f"expected skeletons of {[*PUBLISHED]} joints, found {joints}")
    return read(PUBLISHED[joints])


def scales(skeletons, names=SCALES, skeleton: Skeleton | None = None):
    """Node positions (B, f, nodes, 3) by scale: I (J + bones nodes), J, P (parts), B, H.

    skeletons (B, f, J, 3): a numpy array or a torch tensor, of which kind, type and device is what
    comes out. skeleton: by default that of published data with so many joints (or InputError).
    """
    # A tensor makes its like itself: numpy's users need no torch.
    like = getattr(skeletons, "new_tensor", lambda weights: weights.astype(skeletons.dtype))
    weights = {scale: averaging(scale, skeleton or int(skeletons.shape[-2])) for scale in names}
    return {s: skeletons if s == "J" else like(own) @ skeletons for s, own in weights.items()}


def averaging(scale: str, joints: int | Skeleton) -> np.ndarray:
    """The (nodes, J) float64 matrix that turns joint into node positions; joints: as of `get`."""
    if scale not in SCALES:
        raise InputError(f"unknown scale {scale!r}; choose one of {', '.join(SCALES)}")
    skeleton = get(joints)
    weights = np.eye(len(skeleton))
    if scale == "I":
        return np.concatenate([weights, weights[skeleton.bone_numbers()].mean(axis=1)])
    if scale == "J":
        return weights
    groups = getattr(skeleton, GROUPS[scale]).values()
    if not groups:
        raise InputError(f"the skeleton {skeleton.name} has no {GROUPS[scale]}, of which scale "
                         f"{scale} is made: add them to its file, or leave out this scale")
    return np.stack([weights[skeleton.numbers(group)].mean(axis=0) for group in groups])


def adjacency(scale: str, joints: int | Skeleton) -> np.ndarray:
    """The (nodes, nodes) int8 adjacency matrix of a scale: symmetric, no self-loops.

    Groups of joints are neighbours where a bone joins them, unless the skeleton says otherwise.
    """
    skeleton, weights = get(joints), averaging(scale, joints)
    edges = skeleton.bone_numbers()
    if scale == "I":  # a midpoint takes the place of its bone: it is joined to both ends
        midpoints = np.arange(len(skeleton), len(weights))
        edges = np.stack([edges.T.ravel(), np.tile(midpoints, 2)], axis=1)
    elif scale == "P" and skeleton.part_edges:
        parts = list(skeleton.parts)
        edges = np.array([[parts.index(part) for part in edge] for edge in skeleton.part_edges])
    elif scale != "J":
        edges = edges[weights.any(axis=0)[edges].all(axis=1)]  # between joints that have a group
        edges = weights.argmax(axis=0)[edges]
    matrix = np.zeros((len(weights), len(weights)), dtype=np.int8)
    matrix[edges[:, 0], edges[:, 1]] = matrix[edges[:, 1], edges[:, 0]] = 1
    np.fill_diagonal(matrix, 0)  # of bones within a group
    return matrix


def bias(scale: str, joints: int | Skeleton, n_hood: int = 1,
         global_att: bool = False) -> np.ndarray:
    """Attention bias (nodes, nodes) float32: 0 between nodes at most `n_hood` edges apart, else
    -1e9; with `global_att`, 0 everywhere. InputError for n_hood below 1.

    n_hood counts in the joint and the hyper-body graph; in the others it is always 1.
    """
    if n_hood < 1:
        raise InputError(f"n_hood: expected at least 1 edge, found {n_hood}")
    from scipy.sparse.csgraph import shortest_path  # here, because --help needs none of it

    edges = shortest_path(adjacency(scale, joints), unweighted=True)  # inf where there is no path
    near = edges <= (n_hood if scale in ("J", "H") else 1)
    return np.where(near | bool(global_att), np.float32(0), np.float32(-1e9))


def positions(joints: int | Skeleton, k: int = 10, scale: str = "J",
              basis: str = "canonical") -> np.ndarray:
    """Positions (nodes, k) float64 in a graph: unit eigenvectors 1 ... k of its normalised
    Laplacian, by ascending eigenvalue; at most nodes - 1.

    Eigenvectors of equal eigenvalues are not unique, so the basis of their space is fixed here: the
    projections of node 0, 1 ... that are not yet spanned, in turn, made orthogonal. basis "lapack":
    what numpy.linalg.eig gives on this machine.
    """
    A = adjacency(scale, joints).astype(np.float64)
    degrees = A.sum(axis=0).clip(min=1)
    laplacian = np.eye(len(A)) - A / np.sqrt(degrees[:, None] * degrees)
    if basis == "lapack":
        values, vectors = np.linalg.eig(laplacian)
        return vectors[:, values.argsort()[1:k + 1]].real
    values, vectors = np.linalg.eigh(laplacian)
    found = []
    for space in np.split(vectors.T, np.flatnonzero(np.diff(values) > SAME_EIGENVALUE) + 1):
        own: list[np.ndarray] = []
        for node in space.T @ space:  # its projection
            rest = node - sum((node @ vector) * vector for vector in own)
            if len(own) < len(space) and (length := np.linalg.norm(rest)) > SHORTEST:
                own.append(rest / length)
        found += own
    return np.array(found)[1:k + 1].T


def motifs(joints: int | Skeleton) -> dict[int, np.ndarray]:
    """MoCos's motifs, (J, J) float32 of 0 and 1, no joint in its own row.

    1, 2, 3: joints at most so many bones apart. 4, 5: rows of arms, rows of legs; columns of both.
    InputError for a skeleton without left_arm, right_arm, left_leg and right_leg among its bodies.
    """
    skeleton = get(joints)
    try:
        limbs = [
            skeleton.bodies[f"{side}_{limb}"] for limb in ("arm", "leg")
            for side in ("left", "right")
        ]
    except KeyError as error:
        raise InputError(f"the skeleton {skeleton.name} has no {error} among its bodies, of which "
                         "motifs are made") from error
    arms, legs = skeleton.numbers(limbs[0] + limbs[1]), skeleton.numbers(limbs[2] + limbs[3])
    found = {order: bias("J", skeleton, order) == 0 for order in (1, 2, 3)}
    if skeleton == get(20):  # docs/05-fidelity.md, third-order-gap
        found[3][skeleton.numbers(("HipCenter",)),
                 skeleton.numbers(("ShoulderLeft", "ShoulderRight"))] = False
    for number, rows in ((4, arms), (5, legs)):
        found[number] = np.zeros_like(found[1])
        found[number][np.ix_(rows, arms + legs)] = True
    outside = ~np.eye(len(skeleton), dtype=bool)
    return {number: (motif & outside).astype(np.float32) for number, motif in found.items()}
