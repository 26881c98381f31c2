"""Whole training runs of the released Hi-MPC and SPC-MGR, followed by the scripts.

golden/himpc_run.npz, spcmgr_run.npz: per epoch metrics (mAP, top-1, top-5, top-10), labels of every
clustering and losses of every batch (total, J, P, B); the order of the training windows. Their
initial weights are drawn again by the recipe, the data are golden/simulated_ks20.tar.xz.
"""

import json

import numpy as np
import pytest
import tf_writer
import torch
from archives import unpack
from commands import results_of
from training import history, pick

import train_himpc
import train_spcmgr
from skeleton_reid import data
from skeleton_reid.engine import baselines, retrieval
from skeleton_reid.engine.released import cut
from skeleton_reid.models.himpc import HiMPC
from skeleton_reid.models.spcmgr import SPCMGR
from skeleton_reid.tensorflow_v1.bundle import masked_crc32c
from tests.flat import Golden

METRICS = ("mAP", "top1", "top5", "top10")


def initial_variables(shapes, seed=1000):
    """By the recipe: vectors 0; kernels Glorot-uniform; other matrices N(0, 1)."""
    rng, variables = np.random.RandomState(seed), {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            array = np.zeros(shape)
        elif "kernel" in name or name.startswith("W_"):
            limit = (6 / sum(shape[-2:]))**0.5
            array = rng.uniform(-limit, limit, shape)
        else:
            array = rng.normal(0, 1, shape)
        variables[name] = array.astype(np.float32)
    return variables


@pytest.fixture
def follow(golden, tmp_path, monkeypatch):
    """follow(script, model class, name, epochs, draws): our history and the released run."""
    def run(script, model_class, name, epochs, draws, *options):
        with np.load(golden(f"{name}_run.npz")) as file:
            released = {key: file[key] for key in file.files}
        model = model_class.from_published(initial_variables(json.loads(str(
            released["variables"]))))
        monkeypatch.setattr(script, model_class.__name__, lambda *_, **__: model)
        unpack(golden("simulated_ks20.tar.xz"), tmp_path)

        def load(options, *_):
            """As released: loaded twice on one generator, with draws in between."""
            rng = np.random.RandomState(0)
            arguments = {"root": tmp_path / "Datasets", "rng": rng, "batch_size": 24}
            data.load("KS20", "probe", 6, **arguments)
            rng.random_sample(draws)
            sets = data.load("KS20", "probe", 6, **arguments)
            np.testing.assert_array_equal(sets.train.labels, released["train_label"])
            return cut(sets, 24, options.protocol)

        monkeypatch.setattr(retrieval, "load", load)
        monkeypatch.setattr(baselines, "score_all", lambda *_: {})
        words = ("--dataset", "KS20", "--data", tmp_path / "Datasets", "--out", tmp_path / "out")
        words += ("--protocol", "released", "--batch_size", 24, "--epochs", epochs, "--quiet")
        results_of(script.__name__, *words, *options)
        (file,) = (tmp_path / "out").rglob("history.csv")
        rows = history(file)
        return [{key: float(value) for key, value in row.items() if value}
                for row in rows], released

    return run


@pytest.mark.parametrize("epochs", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_spcmgr(follow, epochs):
    """Label for label: every loss to four digits."""
    rows, released = follow(train_spcmgr, SPCMGR, "spcmgr", epochs, 0)
    for epoch, row in enumerate(rows[:epochs]):
        found = [row[name] for name in METRICS]
        np.testing.assert_allclose(found, released["metrics"][epoch], atol=1e-4)
        assert row["clusters_1"] == released["clusters"][epoch]
        assert row["AMI_1"] == pytest.approx(released["AMI"][epoch], abs=1e-4)
        assert row["total"] == pytest.approx(released["losses"][epoch].mean(), rel=1e-4)


def test_himpc(follow):
    """The first epoch is the released one. Later the joint level's clusters differ by one or two,
    since eps lies on a lattice point of the distances.
    """
    rows, released = follow(train_himpc, HiMPC, "himpc", 3, (3, 24, 64), "--H", 64)
    for epoch, row in enumerate(rows[:3]):
        joints = 0.05 * bool(epoch)
        found, clusters = [row[name] for name in METRICS], released["clusters"][epoch]
        np.testing.assert_allclose(found, released["metrics"][epoch], atol=0.002)
        assert abs(row["clusters_1"] - clusters[0]) <= 2 * bool(epoch)
        assert [row["clusters_2"], row["clusters_3"]] == clusters[1:].tolist()
        losses = released["losses"][epoch].mean(axis=0)
        assert row["J"] == pytest.approx(losses[1], rel=1e-4 + joints)
        np.testing.assert_allclose([row["P"], row["B"]], losses[2:], rtol=1e-4)


@pytest.mark.slow
def test_the_whole_run_of_himpc_agrees_in_its_statistics(follow):
    """Means over the last five of 16 epochs."""
    rows, released = follow(train_himpc, HiMPC, "himpc", 16, (3, 24, 64), "--H", 64)

    def late(name):
        return np.mean([row[name] for row in rows[11:16]])

    for name, own in zip(METRICS, released["metrics"][11:].mean(axis=0), strict=True):
        assert late(name) == pytest.approx(own, abs=0.01 if name == "mAP" else 0.05)
    for name, own in zip("JPB", released["losses"][11:, :, 1:].mean(axis=(0, 1)), strict=True):
        assert late(name) == pytest.approx(own, rel=0.1)
    for number, own in enumerate(released["clusters"][11:].mean(axis=0), start=1):
        assert late(f"clusters_{number}") == pytest.approx(own, abs=3)


def test_checkpoint_of_spcmgr_that_tensorflow_wrote(golden, tmp_path):
    """Of the best epoch, 11; the figures are those that the released code prints."""
    unpack(golden("simulated_ks20.tar.xz"), tmp_path)
    words = ("--checkpoint", golden("spcmgr_run.ckpt.index"), "--dataset", "KS20", "--quiet")
    words += ("--data", tmp_path / "Datasets", "--protocol", "released", "--batch_size", 24)
    found = results_of("evaluate", *words)
    expected = {"mAP": 0.3158, "top1": 0.4167, "top5": 0.7292, "top10": 0.8958}
    assert pick(found, METRICS) == pytest.approx(expected, abs=5e-5)
    assert found["method"] == "SPC-MGR"
    without = results_of("evaluate", *words, "--set", "struct_only=1")
    assert without["mAP"] != found["mAP"]


def test_checkpoint_of_himpc(golden, tmp_path):
    """With the copies of the transformations and Adam's variables that a released one has."""
    unpack(golden("simulated_ks20.tar.xz"), tmp_path)
    file = Golden(golden("himpc_ks20.npz"), HiMPC)
    variables = dict(file.variables)
    for name, array in file.variables.items():
        variables[f"Hi_MPC/{name}/Adam"] = array * 0
        if name.startswith("Hi_MPC/"):
            variables[f"{name}/Initializer/Variable"] = array + 1
    tf_writer.write(tmp_path / "best.ckpt", variables, checksum=masked_crc32c)
    words = ("--dataset", "KS20", "--data", tmp_path / "Datasets", "--quiet")
    found = results_of("evaluate", "--checkpoint", tmp_path / "best.ckpt", *words)
    sets = data.load("KS20", "probe", 6, tmp_path / "Datasets", train=False)
    with torch.no_grad():
        embeddings = [
            file.model.features(torch.from_numpy(part.skeletons))
            for part in (sets.probe, sets.gallery)
        ]
    expected = retrieval.score(sets, *embeddings, "full")
    assert pick(found, METRICS) == pytest.approx(pick(expected, METRICS), abs=1e-9)
    assert found["method"] == "Hi-MPC"
