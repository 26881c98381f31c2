"""reproduce.py: what is run, skipped, gone on with, and how failures and interruptions end."""

import json
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import error_of, run
from filelock import FileLock

from common.errors import InputError
from data import datasets
from reproduction import jobs as execution
from reproduction.experiments import COLUMNS, METHODS, ROWS, Job, jobs, plan
from reproduction.jobs import Runs


def job_of(table: str, row: str, column: str, seed: int = 0) -> Job:
    """One run of one cell of a table."""
    (row,) = (r for r in ROWS[table] if r.name == row)
    return Job(table, row, next(c for c in COLUMNS[table] if c.name == column), seed)


def simmc() -> Job:
    """A training with batches small enough for the data below."""
    job = job_of("retrieval", "SimMC", "IAS-A")
    return replace(job, row=replace(job.row, options="--batch_size 16"))


def test_every_command_is_accepted_by_its_script(tmp_path, capsys):
    """Each gets as far as looking for its data, of which there are none."""
    runs = Runs(tmp_path / "none", tmp_path / "runs", device="cpu", quiet=True)
    seen = {}
    for job in jobs(plan(list(COLUMNS), list(datasets.DATASETS), METHODS, 1)):
        seen.setdefault((job.table, job.row.name, job.column.dataset), job)
    for job in seen.values():
        words = runs.command(job)[1:]
        error = error_of(capsys, Path(words[0]).stem, *words[1:])
        data = f"no {job.column.dataset} data of length {job.column.length}"
        assert ("best.pt" if "--source" in job.row.options else data) in error, (words, error)


# Running


@pytest.fixture
def runs(tmp_path, write_dataset) -> Runs:
    """Small random IAS data, and nothing run yet."""
    data = tmp_path / "Datasets"
    write_dataset(data, "IAS", 6, persons=4, windows=8, rng=np.random.RandomState(0))
    return Runs(data, tmp_path / "runs", "cpu", epochs=1, quiet=True)


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


def test_a_run_is_kept_and_made_again_only_if_it_would_differ(runs, in_process):
    job = job_of("recognition", "Single-layer LSTM", "IAS-A")
    assert runs.record(job) is None
    record = runs.make(job)
    assert runs.record(job) == record
    assert set(record["result"]["tests"]) == {"A", "B"}
    assert runs.record(replace(job, seed=1)) is None
    assert replace(runs, epochs=2).record(job) is None
    note = runs.data / "IAS" / "6" / "split.json"
    note.write_text(json.dumps({"simulated": True, "seed": 1}))  # other data in the same place
    assert runs.record(job) is None


def test_an_interrupted_run_goes_on_to_the_same_figures(runs, in_process, monkeypatch, tmp_path):
    job, three = simmc(), replace(runs, epochs=3)
    whole = replace(three, folder=tmp_path / "whole").make(job)
    call = execution._call

    def stop_after_two(words: list[str], quiet: bool) -> None:
        call([word if word != "3" else "2" for word in words], quiet)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execution, "_call", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            three.make(job)
    assert three.record(job) is None
    record = three.make(job)
    assert "--resume" in in_process[-1] and "--resume" not in in_process[-2]
    for name in ("best", "last", "untrained"):
        assert record["result"][name] == whole["result"][name]
    spent = json.loads((three.folder / job.folder / "IAS-A.json").read_text())["seconds"]
    assert record["seconds"] == spent > 0


def test_files_of_a_run_of_other_settings_are_not_gone_on_with(runs, in_process):
    runs.make(simmc())
    record = replace(runs, epochs=2).make(simmc())
    assert "--resume" not in in_process[-1]
    assert record["result"]["epochs"] == 2


def test_missing_data_are_named_with_where_they_can_be_had(runs):
    reason = runs.obstacle(job_of("retrieval", "D-13", "KS20"))
    assert reason.startswith("no KS20 data of length 6: looked in")
    assert "the real data: http" in reason
    assert runs.obstacle(job_of("retrieval", "D-13", "IAS-A")) is None


# The command


def test_command_writes_tables_and_skips_what_is_done(runs, in_process, tmp_path, capsys):
    words = ("reproduce", "--tables", "retrieval", "--datasets", "IAS,KS20")
    words += ("--methods", "d-13,mean-pose,published")
    where = ("--data", runs.data, "--out", tmp_path / "out", "--quiet")
    assert run(*words, *where, "--list") == 0
    listed = capsys.readouterr().out
    assert listed.count("\nto run ") == 4 and listed.count("no KS20 data of length 6") == 1
    assert "retrieval                    4         0         2" in listed
    assert max(map(len, listed.splitlines())) <= 100
    assert in_process == []
    assert run(*words, *where) == 0
    assert len(in_process) == 4
    table = json.loads((tmp_path / "out" / "retrieval.json").read_text())["entries"]
    assert [(e["row"], e["column"], e["best"]
             is None) for e in table[:6]] == [("D-13", "KS20", True), ("D-13", "IAS-A", False),
                                              ("D-13", "IAS-B", False), ("mean-pose", "KS20", True),
                                              ("mean-pose", "IAS-A", False),
                                              ("mean-pose", "IAS-B", False)]  # fmt: skip
    assert {e["note"] for e in table[6:]} == {"published, not run here"}
    assert run(*words, *where) == 0
    assert len(in_process) == 4


def test_the_list_of_every_table_fits_a_screen(tmp_path, capsys):
    assert run("reproduce", "--list", "--data", tmp_path, "--out", tmp_path, "--seeds", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_reproduce_is_refused_in_a_folder_in_use_and_its_list_is_not(tmp_path, capsys):
    words = ("--out", tmp_path, "--data", tmp_path, "--tables", "retrieval", "--methods", "D-13")
    with FileLock(tmp_path / "reproduce.lock"):
        assert f"another process is at work in {tmp_path}" in error_of(capsys, "reproduce", *words)
        assert run("reproduce", *words, "--list") == 0
    assert run("reproduce", *words) == 0
    assert (tmp_path / "retrieval.md").is_file()


def test_a_failure_is_listed_and_the_others_go_on(runs, in_process, tmp_path, capsys):
    parts = runs.data / "IAS" / "6" / "train_npy_data"
    np.save(parts / "frame_id_IAS_6.npy", np.arange(5))  # recognition reads it, retrieval does not
    where = ("--data", runs.data, "--out", tmp_path / "out", "--quiet")
    words = ("--methods", "D-13,D-13+KNN", "--datasets", "IAS", "--tables", "recognition,retrieval")
    assert run("reproduce", *words, *where) == 2
    assert len(in_process) == 3
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: 1 of 3 runs failed, the first with: exit code 2")
    assert "failed: exit code 2" in (tmp_path / "out" / "recognition.md").read_text()
    assert "failed" not in (tmp_path / "out" / "retrieval.md").read_text()


def test_an_interruption_says_how_to_go_on(runs, tmp_path, monkeypatch, capsys):
    """reproduce.py has no --resume: the same command goes on."""
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runs, "make", stop)
    words = ("--tables", "retrieval", "--datasets", "IAS", "--methods", "D-13")
    where = ("--data", runs.data, "--out", tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *map(str, words + where)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(execution.PROJECT / "reproduce.py"), run_name="__main__")
    assert end.value.code == 130
    assert capsys.readouterr().err == (
        "interrupted; what was saved is whole: the same command goes on where it was\n")
    assert (tmp_path / "out" / "retrieval.md").is_file()


def test_end_of_a_script(capfd):
    python = [sys.executable, "-c"]
    execution._call([*python, "import sys; print('warning: w', file=sys.stderr)"], quiet=True)
    assert capfd.readouterr().err == "warning: w\n"
    with pytest.raises(InputError, match="no data"):
        execution._call(
            [*python, "import sys; print('error: no data', file=sys.stderr); sys.exit(2)"],
            quiet=True)
    with pytest.raises(InputError, match="ZeroDivisionError: division by zero"):
        execution._call([*python, "1 / 0"], quiet=True)
    with pytest.raises(KeyboardInterrupt):
        execution._call([*python, "import sys; sys.exit(130)"], quiet=True)


def test_wrong_use(capsys):
    assert "found 'SimCML'" in error_of(capsys, "reproduce", "--methods", "SimCML")
    assert "leave out --data" in error_of(capsys, "reproduce", "--quick", "--data", "x")
    said = error_of(capsys, "reproduce", "--data", "nowhere")
    assert "--data: expected a folder that preprocess.py wrote, found no nowhere" in said
    assert "no table has" in error_of(capsys, "reproduce", "--tables", "matching", "--datasets",
                                      "KS20")


def test_an_interruption_lets_the_script_save_its_state(tmp_path):
    """Only reproduce.py is interrupted: it passes that on, and waits."""
    script = tmp_path / "script.py"
    script.write_text("import pathlib, sys, time\n"
                      "try:\n    pathlib.Path('begun').touch()\n    time.sleep(60)\n"
                      "except KeyboardInterrupt:\n    time.sleep(0.2)\n"
                      "    pathlib.Path('saved').touch()\n    sys.exit(130)\n")
    parent = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
              f"sys.path.insert(0, {str(execution.PROJECT)!r})\n"
              "from common.errors import run_command; from reproduction.jobs import _call\n"
              f"run_command(lambda: _call([sys.executable, {str(script)!r}], quiet=True))\n")
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path, stderr=subprocess.PIPE,
                               text=True)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "saved").exists()
    assert errors.startswith("interrupted; what was saved is whole")
