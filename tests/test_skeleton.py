"""Skeleton graphs against the released code's arrays and against slow, obvious versions."""

from collections import deque

import numpy as np
import pytest
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import (FOLDER, SCALES, adjacency, averaging, bias, read, restore,
                                         scales)

JOINTS = (20, 25, 14)
RELEASED = {"I": "In", "J": "J", "P": "P", "B": "B",
            "H": "H_B"}  # the released code's names of the scales


@pytest.mark.parametrize("joints", JOINTS)
@pytest.mark.parametrize("scale", SCALES)
def test_graphs_equal_the_released_ones(golden, joints, scale):
    arrays = np.load(golden("loader.npz"))
    np.testing.assert_array_equal(adjacency(scale, joints),
                                  arrays[f"J{joints}__adj_{RELEASED[scale]}"])
    near = arrays[f"J{joints}__biases_{RELEASED[scale]}"]
    np.testing.assert_array_equal(bias(scale, joints), np.where(near, 0, -1e9).astype(np.float32))
    assert bias(scale, joints).dtype == np.float32


@pytest.mark.parametrize("scale", "IJPB")
def test_graphs_equal_those_of_sm_sge(golden, scale):
    arrays = np.load(golden("smsge_data.npz"))
    np.testing.assert_array_equal(adjacency(scale, 25), arrays[f"KS20/adj_{scale}"])
    np.testing.assert_array_equal(bias(scale, 25) == 0, arrays[f"KS20/biases_{scale}"])


@pytest.mark.parametrize("case",
                         ["KS20_probe", "IAS_A", "BIWI_Walking", "KGBD_gallery", "CASIA_B_nm"])
def test_nodes_equal_the_released_ones(golden, case):
    arrays = np.load(golden("loader.npz"))
    first = "first2" if case.startswith("CASIA") else "first4"
    nodes = scales(arrays[f"{case}__X_train_J_{first}"])
    assert tuple(nodes) == SCALES
    for scale, name in RELEASED.items():
        np.testing.assert_allclose(nodes[scale], arrays[f"{case}__X_train_{name}_{first}"],
                                   atol=1e-6)


def distances_by_search(edges: np.ndarray) -> np.ndarray:
    """Edges between every two nodes, by breadth-first search; a large number where there is no
    path.
    """
    distances = np.full(edges.shape, 10**6)
    for start in range(len(edges)):
        distances[start, start], queue = 0, deque([start])
        while queue:
            node = queue.popleft()
            for other in np.flatnonzero(edges[node]):
                if distances[start, other] == 10**6:
                    distances[start, other] = distances[start, node] + 1
                    queue.append(other)
    return distances


@pytest.mark.parametrize("joints", JOINTS)
@pytest.mark.parametrize("n_hood", [1, 2, 3, 30])
def test_bias_is_zero_within_n_hood_edges(joints, n_hood):
    for scale in SCALES:
        distances = distances_by_search(adjacency(scale, joints))
        assert distances.max() < 10**6, "every graph is connected"
        reach = n_hood if scale in "JH" else 1
        np.testing.assert_array_equal(bias(scale, joints, n_hood) == 0, distances <= reach)
        np.testing.assert_array_equal(np.unique(bias(scale, joints, n_hood))[1:], 0)
        assert not bias(scale, joints, n_hood, global_att=True).any()


@pytest.mark.parametrize("joints", JOINTS)
def test_structure_of_the_graphs(joints):
    sizes = {"I": 2 * joints - 1, "J": joints, "P": 10, "B": 5, "H": 3}
    for scale in SCALES:
        edges = adjacency(scale, joints)
        assert edges.shape == (sizes[scale],) * 2
        assert np.array_equal(edges, edges.T) and not edges.diagonal().any()
        assert edges.sum() == 2 * (sizes[scale] - 1), "a tree"
        np.testing.assert_allclose(averaging(scale, joints).sum(axis=1), 1)
    for scale in "PBH":  # the groups share out the joints
        assert np.array_equal((averaging(scale, joints) > 0).sum(axis=0), np.ones(joints))


def test_hyper_joints_stand_in_the_middle_of_the_bones_in_scan_order():
    skeletons = np.random.RandomState(3).normal(size=(2, 4, 20, 3))
    nodes, edges = scales(skeletons)["I"], adjacency("J", 20)
    np.testing.assert_array_equal(nodes[:, :, :20], skeletons)
    number = 20
    for i in range(20):
        for j in range(i + 1, 20):
            if edges[i, j]:
                np.testing.assert_allclose(nodes[:, :, number],
                                           (skeletons[:, :, i] + skeletons[:, :, j]) / 2)
                assert set(np.flatnonzero(adjacency("I", 20)[number])) == {i, j}
                number += 1
    assert number == 39


def test_a_part_is_the_mean_of_its_joints():
    skeletons = np.random.RandomState(4).normal(size=(3, 2, 25, 3))
    nodes = scales(skeletons)
    np.testing.assert_allclose(nodes["P"][:, :, 7], skeletons[:, :, [6, 7, 21, 22]].mean(axis=2))
    np.testing.assert_allclose(nodes["B"][:, :, 2], skeletons[:, :, [0, 1, 2, 3, 20]].mean(axis=2))
    np.testing.assert_allclose(nodes["H"][:, :, 1], skeletons[:, :, 0])


@pytest.mark.parametrize("joints", JOINTS)
def test_tensors_give_tensors_of_the_same_values(joints):
    skeletons = np.random.RandomState(5).normal(size=(2, 3, joints, 3)).astype(np.float32)
    expected = scales(skeletons)
    tensor = torch.from_numpy(skeletons).requires_grad_()
    for scale, nodes in scales(tensor).items():
        assert nodes.dtype == torch.float32 and expected[scale].dtype == np.float32
        torch.testing.assert_close(nodes.detach(), torch.from_numpy(expected[scale]))
    scales(tensor)["I"].sum().backward()
    assert torch.isfinite(tensor.grad).all()


def test_bad_input():
    with pytest.raises(InputError, match=r"20, 25, 14\] joints, found 17"):
        scales(np.zeros((1, 1, 17, 3)))
    with pytest.raises(InputError, match="'K'"):
        bias("K", 20)
    with pytest.raises(InputError, match="n_hood"):
        bias("J", 20, n_hood=0)


@pytest.mark.parametrize("name", [*(path.stem for path in FOLDER.glob("*.yaml"))])
def test_shipped_skeletons_are_whole_and_symmetric(name):
    skeleton = read(name)
    other = dict(skeleton.pairs) | {right: left for left, right in skeleton.pairs}
    mirrored = {joint: other.get(joint, joint) for joint in skeleton.joints}
    bones = {frozenset(bone) for bone in skeleton.bones}
    assert bones == {frozenset(mirrored[joint] for joint in bone) for bone in bones}
    for groups in (skeleton.parts, skeleton.bodies, skeleton.hyper_bodies):
        assert sorted(joint for group in groups.values()
                      for joint in group) == sorted(skeleton.joints)
    for groups in (skeleton.parts, skeleton.bodies, skeleton.landmarks):
        for key, group in groups.items():
            twin = key.replace("left", "?").replace("right", "left").replace("?", "right")
            assert {mirrored[joint] for joint in group} == set(groups[twin]), key
    assert {mirrored[joint] for joint in skeleton.root} == set(skeleton.root)
    for scale in SCALES:  # every node can be reached
        assert distances_by_search(adjacency(scale, skeleton)).max() < 10**6, scale
    assert restore(skeleton.values()) == skeleton
