"""Training runs of the released TranSG and MoCos on simulated IAS, followed by the scripts.

Data and weights are too large for the repository: the tests look for ../shared/golden and are
skipped without it. Dropout cannot be replayed, so losses agree to a few percent.
"""

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import unpack
from commands import results_of

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (GOLDEN / "transg_IAS").is_dir(),
                       reason=f"the released runs are not in {GOLDEN}")
]
# By the run: largest difference of mAP before epochs 1 and 2, largest share of the losses.
RUNS = {
    "TranSG": ("transg_IAS", 0.02, {"GPC": 0.2, "STPR": 0.03}),
    "MoCos": ("mocos_IAS", 0.02, {"STr": 0.03, "SSk": 0.2})
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released_run")
    unpack(GOLDEN / "transg_IAS" / "Datasets_IAS.tar.gz", folder)
    return folder / "Datasets"


@pytest.mark.parametrize("method", RUNS)
def test_the_script_follows_the_released_run(root, tmp_path, monkeypatch, method):
    name, mAP, shares = RUNS[method]
    script = importlib.import_module(f"train_{method.lower()}")
    model_class, load = getattr(script, method), script.features.load
    order = np.load(GOLDEN / name / "order.npz")

    def released_model(*_, **__):
        with np.load(GOLDEN / name / "init.npz") as file:
            model = model_class.from_published({n: file[n] for n in file.files})
        model.take(20)
        model.positions.copy_(torch.from_numpy(order["positions"]))
        return model

    def load_twice(options, settings, source, rng):  # the second training set is used
        load(options, settings, source, rng)
        sets = load(options, settings, source, rng)
        np.testing.assert_array_equal(sets.train.labels, order["labels"])
        sums = sets.train.skeletons.sum(axis=(1, 2, 3), dtype=np.float64)
        np.testing.assert_allclose(sums, order["sums"], atol=1e-4)
        return sets

    monkeypatch.setattr(script, method, released_model)
    monkeypatch.setattr(script.features, "load", load_twice)
    results_of(script.__name__, "--dataset", "IAS", "--probe", "A", "--data", root, "--out",
               tmp_path, "--batch_size", 44, "--protocol", "released", "--epochs", 2, "--quiet")
    with next(tmp_path.rglob("history.csv")).open() as file:
        rows = list(csv.DictReader(file))
    released = json.loads((GOLDEN / name / "curve.json").read_text())["epochs"]
    for ours, theirs in zip(rows, released, strict=False):
        near = 1e-3 if theirs["epoch"] == 0 else mAP
        assert float(ours["mAP"]) == pytest.approx(theirs["mAP"], abs=near)
        for loss, share in shares.items() if ours["total"] else ():
            assert float(ours[loss]) == pytest.approx(theirs[loss], rel=share), (loss, ours)
