"""Parameters and operations of the three models, counted by hand."""

import numpy as np
import pytest
from commands import run

from skeleton_reid.engine.encoding import count_operations, count_parameters, encode_set
from skeleton_reid.models.age import AGE
from skeleton_reid.models.recognition import RecognitionNetwork
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.models.smsge import SMSGE


def operations(model, joints, f):
    skeletons = np.random.RandomState(0).normal(size=(1, f, joints, 3)).astype(np.float32)
    return count_operations(lambda: encode_set(model, skeletons))


def test_simmc():
    model = SimMC(75, 32)
    assert count_parameters(model) == 75 * 32 + 32 + 2 * (32 * 32 + 32)
    # The prediction head is trained, but encodes nothing.
    assert operations(model, 25, 6) == 2 * 6 * (75 * 32 + 32 * 32)


@pytest.mark.parametrize("D_h", [4, 16])
def test_smsge(D_h):
    f, heads, hidden, nodes = 6, 3, 8, {"I": 49, "J": 25, "P": 10, "B": 5}
    neighbours = 5  # of the node that has most
    expected = 0
    for n in nodes.values():
        expected += (4 * hidden * heads * hidden + 2 * heads * 4 * hidden
                     )  # the maps of features and scores
        # Scores of nodes and of their neighbours, features of averaged positions.
        expected += f * heads * 3 * (n + n * neighbours + n * hidden)
        for m in [m for m in nodes.values() if m <= n]:
            # The relation, the coarser scale's features through its matrix, what the relation
            # gathers of them.
            expected += f * (n * m * hidden + m * hidden * hidden + n * m * hidden)
        first, second = (f * width * 4 * D_h for width in (n * hidden, D_h))
        # No product with the state before the first frame.
        expected += first + second + 2 * (f - 1) * D_h * 4 * D_h
    expected += f * 3 * 25 * (49 + 10 + 5)  # the nodes of all scales, averages of joints
    assert operations(SMSGE(25, D_h, heads=heads), 25, f) == 2 * expected


def test_age():
    f, J, H = 5, 20, 8
    cell = H * 4 * H
    encoder = f * (J * 4 * H + cell) + (f - 1) * 2 * cell  # no state before the first frame
    decoder = f * (J * 4 * H + 4 * cell)
    attention = (f * H * H + 2 * f * f * H + f * 2 * H * H + f * H * J
                 )  # memory, scores and contexts, layer, output
    assert operations(AGE(J, H), J, f) == 2 * 3 * (encoder + decoder + attention)


def test_released_sizes():
    """SM-SGE's published 5.58 M are encoder and recogniser of IAS; its graph for KS20 has one
    unused 8 x 8 matrix.
    """
    sizes = {(25, 20): 5_729_619 - 64, (20, 11): 5_582_030}
    for (joints, persons), expected in sizes.items():
        recogniser = RecognitionNetwork(4 * 256, persons, 4 * 256)
        assert count_parameters(SMSGE(joints, 256)) + count_parameters(recogniser) == expected
    # With SimMC on the 712 numbers of a frame (KS20) the published 5.89 M, which are 5.58 + 0.31.
    assert round(5.58 + round(count_parameters(SimMC(712)) / 1e6, 2), 2) == 5.89


@pytest.mark.parametrize("script", ["train_smsge", "train_age"])
def test_printed(tmp_path, write_dataset, capsys, script):
    write_dataset(tmp_path / "data", "IAS", 6, 3, 4, np.random.RandomState(0))
    where = ["--dataset", "IAS", "--data", tmp_path / "data", "--out", tmp_path / "out"]
    small = ["--epochs", 1, "--batch_size", 12, "--task", "retrieval", "--model_size", 1]
    assert run(script, *where, *small) == 0
    out = capsys.readouterr().out
    assert "FLOPs of matrix products" in out
