"""evaluate.py by itself: baselines, and what it refuses. Checkpoints are evaluated in the tests of
their scripts.
"""

import json

import numpy as np
import pytest
from commands import error_of, results_of, run
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


def write_features(path, features, **arrays):
    np.savez(path, features=features, labels=np.repeat(np.arange(10), 5), **arrays)
    return path


def test_one_set_as_probe_and_gallery_is_said(tmp_path, capsys):
    file = write_features(tmp_path / "a.npz", np.random.RandomState(0).normal(size=(50, 4)))
    words = "evaluate", "--probe", file, "--gallery", file
    assert run(*words) == 0
    assert "--exclude_self leaves that out" in capsys.readouterr().err
    assert run(*words, "--exclude_self") == 0
    assert not capsys.readouterr().err


def test_features_in_float64_keep_their_digits(tmp_path):
    rng = np.random.RandomState(0)
    people = rng.normal(size=(10, 4)).repeat(5, axis=0)
    near = [people + rng.normal(scale=0.3, size=people.shape) for _ in "ab"]
    metrics = []
    for offset in (0, 1e9):
        files = [write_features(tmp_path / f"{n}.npz", x + offset) for n, x in enumerate(near)]
        metrics.append(results_of("evaluate", "--probe", files[0], "--gallery", files[1]))
    assert pick(metrics[0], RETRIEVAL) == pytest.approx(pick(metrics[1], RETRIEVAL))


def test_no_match_is_no_metric(tmp_path, write_dataset, capsys):
    """CASIA_B's nm.nm is one set: with a recording a person, whole recordings have no match."""
    parts = write_dataset(tmp_path, "CASIA_B", 40, persons=3, windows=4,
                          rng=np.random.RandomState(0))
    for part in parts.values():
        np.save(part.recording_id, np.repeat(np.arange(3), 4))
    words = "--features", "mean-pose", "--dataset", "CASIA_B", "--data", tmp_path
    file = tmp_path / "found.json"
    assert run("evaluate", *words, "--json", file) == 0
    captured = capsys.readouterr()
    assert "no probe has a match in the gallery: there is no mAP" in captured.err
    assert captured.out.split()[-1] == "-"
    found = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert found["recording_mAP"] is None and found["mAP"] > 0


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
