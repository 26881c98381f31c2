"""reproduce.py: what is run, skipped, gone on with, and how failures and interruptions end."""

import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import error_of, run

from common.errors import InputError
from data import datasets
from engine import settings
from engine.run import Run
from reproduction import jobs as execution
from reproduction.experiments import COLUMNS, METHODS, ROWS, Job, jobs, plan
from reproduction.jobs import Place


def job_of(table: str, row: str, column: str, seed: int = 0) -> Job:
    """One run of one cell of a table."""
    return Job(
        next(r for r in ROWS if (r.table, r.name) == (table, row)),
        next(c for c in COLUMNS[table] if c.name == column),
        seed,
    )


def test_every_command_is_accepted_by_its_script(tmp_path, capsys):
    """Each gets as far as looking for its data, of which there are none."""
    place = Place(
        tmp_path / "none", tmp_path / "runs", tmp_path / "models", device="cpu", quiet=True
    )
    seen = {}
    for job in jobs(plan(list(COLUMNS), list(datasets.DATASETS), METHODS, 1)):
        seen.setdefault((job.row.table, job.row.name, job.column.dataset), job)
    for job in seen.values():
        words = execution.command(job, place)[1:]
        error = error_of(capsys, Path(words[0]).stem, *words[1:])
        data = f"no {job.column.dataset} data of length {job.column.length}"
        assert ("best.pt" if job.source else data) in error, (words, error)


# Running


@pytest.fixture
def place(tmp_path, write_dataset) -> Place:
    """Small random IAS data, and nothing run yet."""
    write_dataset(
        tmp_path / "Datasets", "IAS", 6, persons=4, windows=8, rng=np.random.RandomState(0)
    )
    return Place(
        tmp_path / "Datasets", tmp_path / "runs", tmp_path / "models", "cpu", epochs=1, quiet=True
    )


@pytest.fixture
def in_process(monkeypatch):
    """Scripts run in this process; a list of their command lines."""
    calls = []

    def call(words: list[str], quiet: bool) -> None:
        calls.append(words[1:])
        code = run(Path(words[1]).stem, *words[2:])
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise InputError(f"exit code {code}")

    monkeypatch.setattr(execution, "_call", call)
    return calls


def test_a_run_is_kept_and_made_again_only_if_it_would_differ(place, in_process):
    job = job_of("recognition", "Single-layer LSTM", "IAS-A")
    assert execution.finished(job, place) is None
    record = execution.perform(job, place)
    assert execution.finished(job, place) == record
    assert set(record["result"]["tests"]) == {"A", "B"}
    assert record["made_by"]["code"] == execution.code_state()
    other_seed = Job(job.row, job.column, 1)
    assert execution.finished(other_seed, place) is None
    capped = Place(place.data, place.runs, place.models, "cpu", epochs=2, quiet=True)
    assert execution.finished(job, capped) is None
    note = place.data / "IAS" / "6" / "split.json"
    note.write_text(json.dumps({"simulated": True, "seed": 1}))  # other data in the same place
    assert execution.finished(job, place) is None


def test_an_interrupted_run_goes_on_to_the_same_figures(place, in_process, monkeypatch, tmp_path):
    job = job_of("retrieval", "SimMC", "IAS-A")
    monkeypatch.setitem(settings.SIMMC_DEFAULT, "batch_size", 16)
    three = Place(place.data, place.runs, place.models, "cpu", epochs=3, quiet=True)
    whole = execution.perform(
        job, Place(place.data, tmp_path / "whole", place.models, "cpu", 3, True)
    )
    save_last = Run.save_last

    def save_and_stop(self, epoch, *rest, **options):
        save_last(self, epoch, *rest, **options)
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_last", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            execution.perform(job, three)
    assert execution.finished(job, three) is None
    record = execution.perform(job, three)
    assert "--resume" in in_process[-1] and "--resume" not in in_process[-2]
    for name in ("best", "last", "untrained"):
        assert record["result"][name] == whole["result"][name]
    spent = json.loads((three.runs / job.folder / "IAS-A.started.json").read_text())["seconds"]
    assert record["seconds"] == spent > 0


def test_files_of_a_run_of_other_settings_are_not_gone_on_with(place, in_process, monkeypatch):
    monkeypatch.setitem(settings.SIMMC_DEFAULT, "batch_size", 16)
    job = job_of("retrieval", "SimMC", "IAS-A")
    execution.perform(job, place)
    capped = Place(place.data, place.runs, place.models, "cpu", epochs=2, quiet=True)
    record = execution.perform(job, capped)
    assert "--resume" not in in_process[-1]
    assert record["result"]["epochs"] == 2


def test_a_run_that_is_done_is_made_anew_from_the_start(place, in_process, monkeypatch):
    monkeypatch.setitem(settings.SIMMC_DEFAULT, "batch_size", 16)
    job = job_of("retrieval", "SimMC", "IAS-A")
    first, second = execution.perform(job, place), execution.perform(job, place)
    assert not any("--resume" in words for words in in_process)
    assert first["result"]["best"] == second["result"]["best"]


def test_a_run_by_hand_counts_if_its_settings_are_the_published_ones(place, tmp_path):
    whole = Place(place.data, place.runs, place.models, "cpu")
    job = job_of("retrieval", "SimMC", "IAS-A")
    result = {
        "dataset": "IAS", "probe": "A", "length": 6, "protocol": "full", "seed": 0, "seconds": 7.0,
        "settings": execution.published_settings(job), "data": {"simulated": False},
        "stopped": "no better top-1 for 100 epochs", "best": {},
    }  # fmt: skip
    path = place.models / "IAS" / "A" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result))
    assert execution.finished(job, whole)["made_by"]["file"] == str(path)
    assert execution.finished(Job(job.row, job.column, 1), whole) is None
    assert execution.finished(job, place) is None  # which asks for one epoch
    for change in (
        {"protocol": "released"},
        {"stopped": "30 epochs done"},
        {"data": {"simulated": True}},
    ):
        path.write_text(json.dumps(result | change))
        assert execution.finished(job, whole) is None
    path.write_text(json.dumps(result | {"settings": result["settings"] | {"eps": 0.7}}))
    assert execution.finished(job, whole) is None


def test_missing_data_are_named_with_where_they_can_be_had(place):
    reason = execution.missing(job_of("retrieval", "D-13", "KS20"), place)
    assert reason.startswith("no KS20 data of length 6: looked in")
    assert "the real data come from" in reason
    assert execution.missing(job_of("retrieval", "D-13", "IAS-A"), place) is None


# The command


def test_command_writes_tables_skips_what_is_done_and_survives_failures(
    place, in_process, tmp_path, capsys, monkeypatch
):
    words = (
        "reproduce",
        "--tables",
        "retrieval",
        "--datasets",
        "IAS,KS20",
        "--methods",
        "d-13,mean-pose",
    )
    where = ("--data", place.data, "--out", tmp_path / "out", "--models", place.models, "--quiet")
    assert run(*words, *where, "--list") == 0
    listed = capsys.readouterr().out
    assert listed.count("to run") == 4 and "no KS20 data of length 6" in listed
    assert in_process == []
    assert run(*words, *where) == 0
    assert len(in_process) == 4
    table = json.loads((tmp_path / "out" / "retrieval.json").read_text())["entries"]
    assert [(e["row"], e["column"], e["best"] is None) for e in table] == [
        ("D-13", "KS20", True), ("D-13", "IAS-A", False), ("D-13", "IAS-B", False),
        ("mean-pose", "KS20", True), ("mean-pose", "IAS-A", False), ("mean-pose", "IAS-B", False),
    ]  # fmt: skip
    assert run(*words, *where) == 0
    assert len(in_process) == 4
    monkeypatch.setattr(execution, "code_state", lambda: "changed")
    assert run(*words, *where) == 0
    assert len(in_process) == 4
    assert "another state of the code" in (tmp_path / "out" / "retrieval.md").read_text()
    assert run(*words, *where, "--again") == 0
    assert len(in_process) == 8


def test_a_failure_is_listed_and_the_others_go_on(place, in_process, tmp_path, capsys):
    parts = place.data / "IAS" / "6" / "train_npy_data"
    np.save(parts / "frame_id_IAS_6.npy", np.arange(5))  # recognition reads it, retrieval does not
    where = ("--data", place.data, "--out", tmp_path / "out", "--models", place.models, "--quiet")
    words = ("--methods", "D-13,D-13+KNN", "--datasets", "IAS", "--tables", "recognition,retrieval")
    assert run("reproduce", *words, *where) == 2
    assert len(in_process) == 3
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: 1 of 3 runs failed, the first with: exit code 2"
    )
    assert "failed: exit code 2" in (tmp_path / "out" / "recognition.md").read_text()
    assert "failed" not in (tmp_path / "out" / "retrieval.md").read_text()


def test_an_interruption_says_how_to_go_on(place, tmp_path, monkeypatch, capsys):
    """reproduce.py has no --resume: the same command goes on."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "perform", stop)
    words = ("--tables", "retrieval", "--datasets", "IAS", "--methods", "D-13")
    where = ("--data", place.data, "--out", tmp_path / "out", "--models", place.models)
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *map(str, words + where)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(execution.PROJECT / "reproduce.py"), run_name="__main__")
    assert end.value.code == 130
    assert capsys.readouterr().err == (
        "interrupted; what was saved is whole: the same command goes on where it was\n"
    )
    assert (tmp_path / "out" / "retrieval.md").is_file()


def test_end_of_a_script(capfd):
    python = [sys.executable, "-c"]
    execution._call([*python, "import sys; print('warning: w', file=sys.stderr)"], quiet=True)
    assert capfd.readouterr().err == "warning: w\n"
    with pytest.raises(InputError, match="no data"):
        execution._call(
            [*python, "import sys; print('error: no data', file=sys.stderr); sys.exit(2)"],
            quiet=True,
        )
    with pytest.raises(InputError, match="ZeroDivisionError: division by zero"):
        execution._call([*python, "1 / 0"], quiet=True)
    with pytest.raises(KeyboardInterrupt):
        execution._call([*python, "import sys; sys.exit(130)"], quiet=True)


def test_wrong_use(capsys):
    assert "unknown simcml" in error_of(capsys, "reproduce", "--methods", "SimCML")
    assert "leave out --data" in error_of(capsys, "reproduce", "--quick", "--data", "x")
    said = error_of(capsys, "reproduce", "--data", "nowhere")
    assert "--data: expected a folder that preprocess.py wrote, found none at nowhere" in said
    assert "no table has" in error_of(
        capsys, "reproduce", "--tables", "matching", "--datasets", "KS20"
    )


def test_an_interruption_lets_the_script_save_its_state(tmp_path):
    """Only reproduce.py is interrupted: it passes that on, and waits."""
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, sys, time\n"
        "try:\n    pathlib.Path('begun').touch()\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.2)\n    pathlib.Path('saved').touch()\n    sys.exit(130)\n"
    )
    parent = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.path.insert(0, {str(execution.PROJECT)!r})\n"
        "from common.errors import run_command; from reproduction.jobs import _call\n"
        f"run_command(lambda: _call([sys.executable, {str(script)!r}], quiet=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "saved").exists()
    assert errors.startswith("interrupted; what was saved is whole")
