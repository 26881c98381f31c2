"""evaluate.py by itself: baselines, and what it refuses. Checkpoints are evaluated in the tests of
their scripts.
"""

import pytest
from commands import error_of, results_of
from training import RETRIEVAL, pick

from engine.options import BASELINES


@pytest.mark.parametrize("name", [*BASELINES, "untrained"])
def test_baselines_are_those_of_the_training_script(once, name):
    train, result = once("SimMC", "--epochs", 1, "--H", 256)
    found = results_of("evaluate", "--features", name, *train.on(), "--quiet")
    expected = result["untrained"] if name == "untrained" else result["baselines"][name]
    assert pick(found, RETRIEVAL) == pick(expected, RETRIEVAL)
    about = ("kind", "method", "dataset", "probe", "length", "protocol", "seed", "epoch")
    assert [found[key] for key in about] == ["retrieval", name, "KS20", "probe", 6, "full", 0, None]


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
