"""Whole training runs of the released SimMC, replayed draw by draw.

The data are too large for the repository: the test looks for ../shared/golden/replay_KS20 and is
skipped without it.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from archives import unpack
from commands import run
from training import history

import train_simmc
from skeleton_reid import data
from skeleton_reid.engine import retrieval
from skeleton_reid.models.simmc import SimMC

FOLDER = Path(__file__).parents[2] / "shared" / "golden" / "replay_KS20"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(),
                                reason=f"the released runs are not at {FOLDER}")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    unpack(FOLDER / "Datasets_KS20.tar.gz", folder)
    return folder / "Datasets"


def replay(root, patch, seed: int, epochs: int) -> tuple[list[dict], list[dict]]:
    """The rows of our run, from the released run's weights and draws, and of the released one."""
    released = json.loads((FOLDER / f"curve_KS20_seed{seed}.json").read_text())["rows"][:epochs]

    def load(options, settings, source, rng):
        for _ in range(2):  # the released code loads the training set twice and uses the second
            sets = data.load("KS20", "probe", 6, root, rng=rng, batch_size=80)
        with np.load(FOLDER / f"curve_KS20_seed{seed}_order.npz") as order:
            np.testing.assert_array_equal(sets.train.labels, order["y_train"])
            sums = sets.train.skeletons.astype(np.float64).sum(axis=(1, 2, 3))
            np.testing.assert_allclose(sums, order["X_sum"], atol=1e-5)
        return sets

    with np.load(FOLDER / f"curve_KS20_seed{seed}_init.npz") as weights:
        initial = {name.replace("|", "/"): weights[name] for name in weights.files}
    patch.setattr(retrieval, "load", load)
    patch.setattr(train_simmc, "SimMC", lambda *_: SimMC.from_published(initial))
    out = root.parent / f"out{seed}"
    assert run("train_simmc", "--dataset", "KS20", "--batch_size", 80, "--protocol", "released",
               "--seed", seed, "--epochs", epochs, "--data", root, "--out", out, "--quiet") == 0
    rows = history(out / "KS20" / "probe" / "history.csv")[:epochs]
    return [{name: float(x) for name, x in row.items()} for row in rows], released


NAMES = {
    "mAP": "mAP", "top1": "top_1", "top5": "top_5", "top10": "top_10", "AMI_1": "AMI_1",
    "AMI_2": "AMI_2"
}


def expect_close(ours: dict, released: dict) -> None:
    for name, released_name in NAMES.items():
        assert ours[name] == pytest.approx(released[released_name], abs=1e-6)
    for k in (1, 2):
        assert ours[f"clusters_{k}"] == released[f"clusters_{k}"]
        assert ours[f"noise_{k}"] == released[f"noise_{k}"]
    assert ours["MIC"] == pytest.approx(released["MIC_loss"], abs=1e-3)
    assert ours["MPC"] == pytest.approx(released["MPC_loss"], abs=2e-3)


def expect_close_up_to_rounding(ours: dict, released: dict) -> None:
    """The last bit of the features depends on the processor, and distances sit on eps: after a
    training step, with features multiplied by 1 + 3e-7 noise, an epoch gave 22 to 24 clusters and
    AMI_1 from 0.729 to 0.753; with seed 1 even the first epoch's clusters depend on it.
    """
    for name in ("mAP", "top1", "top5", "top10"):
        assert ours[name] == pytest.approx(released[NAMES[name]], abs=0.01)
    for k in (1, 2):
        assert ours[f"AMI_{k}"] == pytest.approx(released[f"AMI_{k}"], abs=0.05)
        assert abs(ours[f"clusters_{k}"] - released[f"clusters_{k}"]) <= 4
    assert ours["MIC"] == pytest.approx(released["MIC_loss"], abs=0.02)
    assert ours["MPC"] == pytest.approx(released["MPC_loss"], abs=0.08)


def test_the_first_epochs_are_the_released_ones(root, monkeypatch):
    ours, released = replay(root, monkeypatch, seed=0, epochs=2)
    expect_close(ours[0], released[0])
    expect_close_up_to_rounding(ours[1], released[1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whole_runs_agree_in_their_statistics(root, monkeypatch, seed):
    """25 epochs; the means over the last five are compared with the spread that the three released
    runs show.
    """
    ours, released = replay(root, monkeypatch, seed, 25)
    expect_close_up_to_rounding(ours[0], released[0])

    def late(rows, name):
        return np.mean([row[name] for row in rows[-5:]])

    assert late(ours, "mAP") == pytest.approx(late(released, "mAP"), abs=0.04)
    assert late(ours, "top1") == pytest.approx(late(released, "top_1"), abs=0.08)
    assert late(ours, "clusters_1") == pytest.approx(late(released, "clusters_1"), abs=4)
    assert late(ours, "AMI_1") == pytest.approx(late(released, "AMI_1"), abs=0.05)
    assert max(row["outliers"] for row in ours[-5:]) <= 5
