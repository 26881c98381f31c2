"""SPC-MGR against numbers of the released code (golden/spcmgr_*.npz; tests/flat.py), and by itself.
"""

import numpy as np
import pytest
import torch
from commands import results_of
from training import RETRIEVAL, pick

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import bias, scales
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.smsge import relation
from skeleton_reid.models.spcmgr import SCALES, SPCMGR
from tests.flat import Golden


@pytest.fixture(params=["ks20", "ias"])
def released(request, golden):
    found = Golden(golden(f"spcmgr_{request.param}.npz"), SPCMGR)
    found.model.fusion_lambda = found.meta["fusion_lambda"]
    return found


def loss_of(released, labels=None):
    labels = released.tensor("labels").long() if labels is None else labels
    return released.model.loss(released.tensor("skeletons"), labels, released.tensor("prototypes"),
                               released.meta["temperature"])


def close(found, expected, share=1e-6):
    """Within this share of the largest value."""
    np.testing.assert_allclose(found.detach(), expected, rtol=0,
                               atol=share * np.abs(expected).max())


def test_nodes_and_relations(released):
    skeletons, model = released.tensor("skeletons"), released.model
    graphs = scales(skeletons, SCALES)
    structural = {scale: model.structure[scale](graphs[scale]) for scale in SCALES}
    for scale, nodes in model.nodes(skeletons).items():
        close(structural[scale], released[f"structural_{scale}"])
        close(nodes, released[f"fused_{scale}"])
        np.testing.assert_array_equal(bias(scale, skeletons.shape[2]), released[f"bias_{scale}"])
    for fine, coarse in model.relation:
        close(relation(structural[fine], structural[coarse]), released[f"relation_{fine}{coarse}"])
    close(model.encode(skeletons).mean(dim=1), released["feature"])


def test_loss_gradients_and_steps(released):
    optimizer = TFAdam(released.model.parameters(), released.meta["lr"])
    for step in (1, 2, 3):
        optimizer.zero_grad()
        loss = loss_of(released)
        loss.backward()
        if step == 1:
            assert loss.item() == pytest.approx(released["loss"].item(), rel=1e-5)
            found = released.flat(lambda p: p.grad)
            # Some gradients of the attention vanish, and only their rounding differs.
            assert np.abs(found - released["g"]).max() < 1e-5 * np.linalg.norm(released["g"])
        optimizer.step()
        if step != 2:
            expect_weights(released, f"after{step}")
    if "afterzero" in released.arrays:  # a batch without a second cluster: the momentum goes on
        optimizer.zero_grad()
        zero = loss_of(released, torch.zeros_like(released.tensor("labels").long()))
        zero.backward()
        assert zero.item() == 0 and not released.flat(lambda p: p.grad).any()
        optimizer.step()
        expect_weights(released, "afterzero")


def expect_weights(released, name):
    counts = np.abs(released["g"]) > 1e-6
    found = released.flat(lambda p: p)
    np.testing.assert_allclose(found[counts], released[name][counts], atol=1e-5)


def test_structure_alone_has_no_collaboration(released):
    skeletons, model = released.tensor("skeletons"), released.model
    model.struct_only = True
    for scale, nodes in model.nodes(skeletons).items():
        close(nodes, released[f"structural_{scale}"])


def test_whether_a_batch_counts_can_be_told(released):
    """A process that has only the first cluster of a batch learns from it."""
    labels = torch.zeros_like(released.tensor("labels").long())
    arguments = released.tensor("skeletons"), labels, released.tensor("prototypes"), 0.1
    assert released.model.loss(*arguments).item() == 0
    assert released.model.loss(*arguments, counts=torch.tensor(True)).item() > 0


def test_fresh_model():
    model = SPCMGR(25, 4, fusion_lambda=0.5, generator=torch.Generator().manual_seed(0))
    again = SPCMGR(model.skeleton, generator=torch.Generator().manual_seed(0), **model.arguments)
    for own, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(own, other)
    assert (again.fusion_lambda, again.struct_only) == (0.5, False)
    skeletons = torch.randn(9, 4, 25, 3, generator=torch.Generator().manual_seed(1))
    assert model.encode(skeletons).shape == (9, 4, 144)
    labels = torch.tensor([0, 1, 2] * 3)
    model.loss(skeletons, labels, model.encode(skeletons)[:3, 0], 0.1).backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("heads", "size"), [(8, 2_640), (16, 4_800)])
def test_size_at_the_published_settings(heads, size):
    assert sum(p.numel() for p in SPCMGR(heads=heads).parameters()) == size


@pytest.mark.parametrize("joints", [14, 20, 25])
def test_published_weights_take_any_number_of_joints(released, joints):
    skeletons = torch.randn(2, 3, joints, 3, generator=torch.Generator().manual_seed(1))
    own = SPCMGR.from_published(released.variables, joints=joints,
                                fusion_lambda=released.model.fusion_lambda)
    assert torch.equal(own.encode(skeletons), released.model.encode(skeletons))


def test_other_variables():
    with pytest.raises(InputError, match="no variable 'MG/MG/Variable'"):
        SPCMGR.from_published({"a/b": np.zeros(3)})


def test_training_goes_on_from_a_model_of_other_data(training, once, capsys):
    other, _ = once("SPC-MGR", "--epochs", 1)
    start = other.path("best.pt")
    train = training("SPC-MGR")
    first = train("--epochs", 1, "--start", start)["untrained"]
    assert pick(first, RETRIEVAL) == pick(other.evaluate(start), RETRIEVAL)
    assert "do not fit" in train.error(capsys, "--epochs", 1, "--start", start, "--heads", 3)


def test_released_training_on_one_set_lets_a_sequence_find_itself(tmp_path, write_dataset):
    """nm-self-match: top-1 is 1 from the start."""
    write_dataset(tmp_path, "CASIA_B", 40, persons=4, windows=4, noise=9.0,
                  rng=np.random.RandomState(0))
    words = ("--dataset", "CASIA_B", "--probe", "nm.nm", "--data", tmp_path, "--batch_size", 4)
    words += ("--heads", 2, "--epochs", 1, "--quiet", "--out", tmp_path / "out", "--protocol")
    full, released = (results_of("train_spcmgr", *words, name) for name in ("full", "released"))
    assert released["untrained"]["top1"] == 1
    assert full["untrained"]["top1"] < 1


def test_the_share_of_collaborative_relations_is_at_most_all(training, capsys):
    said = training("SPC-MGR").error(capsys, "--fusion_lambda", 1.5)
    assert "a number from 0 to 1" in said and "'1.5'" in said
