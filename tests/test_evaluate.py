"""evaluate.py by itself: baselines, and what it refuses. Checkpoints are evaluated in the tests of
their scripts.
"""

import numpy as np
import pytest
from commands import error_of, results_of
from raw_data import random_kgbd
from raw_data import run as run_preprocess
from raw_data import write_kgbd
from training import RETRIEVAL, pick

from skeleton_reid.engine.options import BASELINES


@pytest.mark.parametrize("name", [*(n for n in BASELINES if n != "recording-LDA"), "untrained"])
def test_baselines_are_those_of_the_training_script(once, name):
    train, result = once("SimMC", "--epochs", 1, "--H", 256)
    found = results_of("evaluate", "--features", name, *train.on(), "--quiet")
    expected = result["untrained"] if name == "untrained" else result["baselines"][name]
    assert pick(found, RETRIEVAL) == pick(expected, RETRIEVAL)
    about = ("kind", "method", "dataset", "probe", "length", "protocol", "seed", "epoch")
    assert [found[key] for key in about] == ["retrieval", name, "KS20", "probe", 6, "full", 0, None]


def test_session_sees_the_floor_and_nothing_else(tmp_path, once, capsys):
    """Walkers without any gait of their own, a floor for each."""
    frames = random_kgbd(persons=6, recordings=4, length=60)
    raised = {name: np.add(own, [0, 10.0 * int(name[6:9]), 0]) for name, own in frames.items()}
    write_kgbd(tmp_path / "Data", raised)
    run_preprocess(6, "--raw", tmp_path, "--out", tmp_path / "out")
    words = ("--dataset", "KGBD", "--data", tmp_path / "out", "--quiet", "--features")
    assert results_of("evaluate", *words, "session")["top1"] == 1
    assert results_of("evaluate", *words, "mean-pose")["top1"] < 0.5
    train, _ = once("SimMC", "--epochs", 1, "--H", 256)
    said = error_of(capsys, "evaluate", "--features", "session", *train.on())
    assert "expected windows of preprocess.py" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "expected one of --checkpoint, --features, --recognise, --gallery, found none"),
     (("--features", "D-13", "--gallery", "x"), "found --features and --gallery"),
     (("--gallery", "x.npz"), "needs --probe"),
     (("--gallery", "x.npz", "--probe", "y.npz"), "no feature file at y.npz"),
     (("--features", "D-13"), "expected --dataset"),
     (("--features", "D-13", "--dataset", "KS20", "--exclude_self"), "goes with feature files"),
     (("--features", "D-13", "--dataset", "IAS", "--source", "AGE"),
      "--source goes with --checkpoint")])
def test_wrong_use(capsys, arguments, message):
    assert message in error_of(capsys, "evaluate", *arguments)
