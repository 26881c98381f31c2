"""Training where an earlier run has left its files."""

import shutil

import pytest
import torch
from training import without_time

from skeleton_reid.data import datasets
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.history import History
from skeleton_reid.engine.methods.simmc import SimMCSettings
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.run import Run


def contents(run, *parts):
    return {path.name: path.read_bytes() for path in run.path(*parts).iterdir() if path.is_file()}


@pytest.mark.parametrize("method", ["SimMC", "AGE", "SM-SGE"])
def test_a_run_from_the_start_keeps_the_earlier_one(training, method):
    run = training(method)
    run("--epochs", 2)
    phases = [()] if method == "SimMC" else [("encoder",), ("recogniser",)]
    before = {phase: contents(run, *phase) for phase in phases}
    results = run.path("results.json").read_bytes()
    again = run("--epochs", 1, "--lr", 0.02)
    for phase, files in before.items():
        kept = {name for name in files if name.endswith(".pt")} | {"history.csv"}
        after = contents(run, *phase)
        assert len(kept) > 2 and all(after[f"{name}.earlier"] == files[name] for name in kept)
        assert len(run.history(*phase)) < len(files["history.csv"].splitlines())
    assert run.path("results.json.earlier").read_bytes() == results
    shutil.rmtree(run.out)
    assert without_time(run("--epochs", 1, "--lr", 0.02)) == without_time(again)


def test_what_is_not_saved_is_not_taken_from_an_earlier_run(training, capsys):
    run = training("SimMC")
    run("--epochs", 2)
    run("--epochs", 1, "--save_model", 0)
    assert "best.pt" in run.error(capsys, "--mode", "Eval")


def test_resume_sets_nothing_aside(training):
    run = training("AGE")
    run("--epochs", 1)
    run("--pre_epochs", 1, "--recognition_epochs", 2, "--resume")
    run("--epochs", 1, "--resume", "--manner", "sc")
    assert (len(list(run.out.rglob("*.pt"))) == 10
            )  # best and last of the encoder; two of tests, final, last of each
    assert not list(run.out.rglob("*.pt.earlier"))


def test_another_encoder_sets_the_recogniser_aside(training):
    run = training("SM-SGE")
    run("--epochs", 2)
    first = run.path("recogniser", "best_A.pt").read_bytes()
    encoder = run.path("encoder", "best.pt")
    changed = torch.load(encoder, weights_only=True)
    changed["model"]["relation.II"] += 1
    torch.save(changed, encoder)
    run("--epochs", 1, "--pre_train", 0, "--resume")
    assert run.path("recogniser", "best_A.pt.earlier").read_bytes() == first
    assert not list(run.path("encoder").glob("*.earlier"))


def casia_run(tmp_path, probe):
    options = TrainingOptions(datasets.get("CASIA_B"), probe, 40, tmp_path, quiet=True,
                              settings=SimMCSettings())
    return Run("SimMC", options, tmp_path / "out" / "CASIA_B", f"{probe}_")


def test_probes_that_share_a_folder_do_not_touch_each_other(tmp_path):
    """CASIA_B's probe types are prefixes of the files of one folder."""
    for probe in ("nm.nm", "cl.cl"):
        run = casia_run(tmp_path, probe)
        History(run, {}).save(1)
        run.write_results({})
    assert History(casia_run(tmp_path, "nm.nm"), {}).begin() == 0
    names = {path.name for path in (tmp_path / "out" / "CASIA_B").iterdir()}
    aside = {f"nm.nm_{name}.earlier" for name in ("last.pt", "results.json")}
    assert names >= aside | {"cl.cl_last.pt", "cl.cl_results.json"}
    assert not names & {"nm.nm_last.pt", "nm.nm_results.json", "cl.cl_last.pt.earlier"}


def test_the_first_state_is_saved_at_once_and_the_next_ones_after_some_seconds(tmp_path):
    run = casia_run(tmp_path, "nm.nm")
    history = History(run, {})
    for epoch in (1, 2):
        history.save(epoch, seconds=1000)
    assert checkpoint.load(run.path("last.pt"))["epoch"] == 1


def test_a_file_that_a_killed_process_left_half_written_goes(training):
    run = training("SimMC")
    run("--epochs", 1)
    left = run.path(".last.pt.123.tmp")
    left.write_bytes(b"half")
    run("--epochs", 1)
    assert not left.exists()
