"""Metrics from simulated walkers say so: in split.json, on the screen, in the JSON of every
command.
"""

import json

import numpy as np
import pytest
import raw_data
from commands import error_of, run

from skeleton_reid.data.files import provenance
from skeleton_reid.data.simulate import simulate


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    simulate("IAS", folder / "raw", persons=3, frames=50, recordings=1)
    raw_data.run(4, "--dataset", "IAS", "--raw", folder / "raw", "--out", folder / "Datasets",
                 "--seed", 3)
    return folder / "Datasets"


def test_a_run_and_an_evaluation_say_that_their_data_are_simulated(simulated, tmp_path, capsys):
    common = ("--dataset", "IAS", "--length", 4, "--data", simulated, "--device", "cpu")
    file = tmp_path / "found.json"
    assert (run("train_simmc", *common, "--epochs", 1, "--batch_size", 64, "--out", tmp_path,
                "--json", file, "--quiet") == 0)
    assert "SimMC, IAS/A (simulated)" in capsys.readouterr().out
    found = json.loads(file.read_text())["data"]
    assert found["simulated"] is True
    assert (found["seed"], found["joint_order"]) == (3, "kinect")
    assert set(found["windows"]) == {"train", "A", "B"}
    for what in (("--features", "D-13"), ("--recognise", "D-13+KNN")):
        assert run("evaluate", *common, *what, "--json", file) == 0
        assert "IAS simulated" in capsys.readouterr().out
        assert json.loads(file.read_text())["data"] == found


def test_data_without_split_file_are_not_simulated(tmp_path, write_dataset, capsys):
    write_dataset(tmp_path, "IAS", 4, persons=3, windows=4, rng=np.random.RandomState(0))
    assert provenance("IAS", 4, tmp_path) == {"simulated": False}
    assert (run("evaluate", "--features", "D-13", "--dataset", "IAS", "--length", 4, "--data",
                tmp_path) == 0)
    assert "simulated" not in capsys.readouterr().out


def test_damaged_split_file_is_refused_in_one_line(tmp_path, write_dataset, capsys):
    parts = write_dataset(tmp_path, "IAS", 4, persons=3, windows=4, rng=np.random.RandomState(0))
    words = ("evaluate", "--features", "D-13", "--dataset", "IAS", "--length", 4, "--data",
             tmp_path)
    for content in ('{"simulated": tr', "[1]", "{}"):
        (parts["train"].folder.parent / "split.json").write_text(content)
        assert "split.json: expected what preprocess.py writes" in error_of(capsys, *words)
