"""reproduce.py: what is run, skipped, gone on with, and how failures and interruptions end."""

import json
import pickle
import runpy
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from commands import error_of, run
from filelock import FileLock

from skeleton_reid.data import datasets
from skeleton_reid.reproduction import jobs as execution
from skeleton_reid.reproduction.experiments import COLUMNS, METHODS, ROWS, Job, jobs, plan
from skeleton_reid.reproduction.jobs import Runs


def job_of(table: str, row: str, column: str, seed: int = 0) -> Job:
    """One run of one cell of a table."""
    (row,) = (r for r in ROWS[table] if r.name == row)
    return Job(table, row, next(c for c in COLUMNS[table] if c.name == column), seed)


def simmc() -> Job:
    """A training with batches small enough for the data below."""
    job = job_of("retrieval", "SimMC", "IAS-A")
    return replace(job, row=replace(job.row, command="train_simmc.py --batch_size 16"))


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

    class Child:
        """A process that has ended."""
        def __init__(self, words: list[str], **_):
            calls.append(words[1:])
            self.code = run(Path(words[1]).stem, *words[2:])

        def wait(self) -> int:
            return self.code

        def send_signal(self, number: int) -> None:
            """It has ended."""

    monkeypatch.setattr(execution, "Popen", Child)
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


def test_an_interrupted_run_goes_on_to_the_same_metrics(runs, in_process, monkeypatch, tmp_path):
    job, three = simmc(), replace(runs, epochs=3)
    whole = replace(three, folder=tmp_path / "whole").make(job)
    child = execution.Popen

    def stop_after_two(words: list[str], **options):
        stopped = child([word if word != "3" else "2" for word in words], **options)
        stopped.code = 130
        return stopped

    with monkeypatch.context() as patch:
        patch.setattr(execution, "Popen", stop_after_two)
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


SCRIPT = """
import json, os, pathlib, sys, time
place = pathlib.Path(sys.argv[sys.argv.index("--json") + 1])
with place.with_suffix(".begun").open("a") as file:
    print(os.environ["OMP_NUM_THREADS"], file=file)
try:
    for _ in range({tenths}):
        time.sleep(0.1)
except KeyboardInterrupt:
    place.with_suffix(".saved").touch()
    sys.exit(130)
if "{fails}" in sys.argv:
    sys.exit("error: it cannot be")
place.write_text(json.dumps(dict(best=dict(top1=0.5, top5=0.5, top10=0.5, mAP=0.5))))
"""
FOUR = ("--tables", "retrieval", "--datasets", "IAS", "--methods", "D-13,D-16", "--quiet")


def scripts(folder: Path, tenths: int = 3, fails: str = "-") -> Path:
    """A project whose evaluate.py takes tenths of a second, and fails where a word is `fails`."""
    folder.mkdir(exist_ok=True)
    (folder / "evaluate.py").write_text(SCRIPT.format(tenths=tenths, fails=fails))
    return folder


def test_runs_at_once(runs, tmp_path, monkeypatch, capsys):
    """Two start before one ends, threads are divided, a failure does not stop the others."""
    monkeypatch.setattr(execution, "PROJECT", scripts(tmp_path / "project", fails="D-16"))
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    words = (*FOUR, "--data", runs.data, "--out", tmp_path / "out", "--jobs", 2)
    assert run("reproduce", *words) == 2
    printed, said = capsys.readouterr()
    starts = [line[:5] for line in printed.splitlines() if line.startswith(("[", "   "))]
    assert starts[:2] == ["[1/4]", "[2/4]"] and starts[-1] == "    r" and len(starts) == 8
    assert "retrieval/D-16/IAS-A/seed0/IAS-A: failed: it cannot be" in printed
    assert said.splitlines()[-1].endswith("2 of 4 runs failed, the first with: it cannot be")
    begun = list((tmp_path / "out").rglob("*.begun"))
    assert [path.read_text() for path in begun] == ["3\n"] * 4
    rows = json.loads((tmp_path / "out" / "retrieval.json").read_text())["entries"]
    assert [bool(row["best"]) for row in rows] == [True, True, False, False]


def command(out: Path, data: Path, project: Path, *words: object) -> list[str]:
    """reproduce.py with the scripts of another folder, in a process of its own."""
    parent = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
              f"sys.path.insert(0, {str(execution.PROJECT)!r})\n"
              "import pathlib, reproduce; from skeleton_reid.common.errors import run_command\n"
              "from skeleton_reid.reproduction import jobs\n"
              f"jobs.PROJECT = pathlib.Path({str(project)!r})\n"
              "run_command(reproduce.main, go_on='go on')\n")
    return [
        sys.executable, "-c", parent, *FOUR, "--out",
        str(out), "--data",
        str(data), *map(str, words)
    ]


def test_an_interruption_lets_every_run_save_its_state(runs, tmp_path):
    """Only reproduce.py is interrupted: it passes that on, and waits."""
    out, begun, saved = tmp_path / "out", [], []
    words = command(out, runs.data, scripts(tmp_path / "project", tenths=600), "--jobs", 3)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while len(begun) < 3:
        assert process.poll() is None
        time.sleep(0.05)
        begun = list(out.rglob("*.begun"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    saved = list(out.rglob("*.saved"))
    assert process.returncode == 130 and len(saved) == len(begun) == 3
    assert errors == "interrupted; what was saved is whole: go on\n"
    spent = [json.loads(path.with_suffix("").with_suffix(".json").read_text()) for path in saved]
    assert all(record["seconds"] > 0 and "result" not in record for record in spent)


def test_two_processes_in_a_folder_divide_the_runs(runs, tmp_path):
    """Each run is made once, and both have the whole table."""
    words = command(tmp_path / "out", runs.data, scripts(tmp_path / "project", tenths=5))
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all("retrieval.md" in own for own in printed)
    rows = json.loads((tmp_path / "out" / "retrieval.json").read_text())["entries"]
    assert all(row["best"] for row in rows) and len(rows) == 4
    begun = [path.read_text() for path in (tmp_path / "out").rglob("*.begun")]
    assert len(begun) == 4 and all(lines.count("\n") == 1 for lines in begun)


def test_a_run_that_another_process_is_at_is_waited_for(runs, in_process, tmp_path, capsys):
    """It is gone on with when the other process ends, whatever that left."""
    words = (*FOUR, "--data", runs.data, "--out", tmp_path)
    lock = FileLock(tmp_path / "runs/retrieval/D-16/IAS-B/seed0.lock", thread_local=False)
    lock.acquire()
    Timer(2, lock.release).start()
    assert run("reproduce", *words, "--list") == 0
    assert run("reproduce", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [line for line in lines if line.startswith(("[", "waiting"))]
    assert starts[3:] == [
        "waiting for another process, which is at retrieval/D-16/IAS-B/seed0/IAS-B",
        "[4/4] retrieval/D-16/IAS-B/seed0/IAS-B"
    ]
    assert len(in_process) == 4


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


def test_end_of_a_script(runs, monkeypatch, capfd):
    def end(script: str) -> dict | str:
        words = [sys.executable, "-c", f"import sys; {script}"]
        monkeypatch.setattr(Runs, "command", lambda *_: words)
        return runs.make(job_of("retrieval", "D-13", "IAS-A"))

    result = str(runs._file(job_of("retrieval", "D-13", "IAS-A"), ".result.json"))
    record = end(f"print('warning: w', file=sys.stderr); open({result!r}, 'w').write('[1]')")
    assert record["result"] == [1] and capfd.readouterr().err == "warning: w\n"
    assert end("sys.exit('error: no data')") == "failed: no data"
    assert end("1 / 0") == "failed: ZeroDivisionError: division by zero"
    assert end("sys.exit(7)") == "failed: exit code 7"
    with pytest.raises(KeyboardInterrupt):
        end("sys.exit(130)")


def test_slurm(runs, in_process, tmp_path, monkeypatch, capsys):
    """What is pickled for submitit makes the same records; options go to sbatch as they are."""
    submitit = pytest.importorskip("submitit")
    words = (*FOUR, "--data", runs.data, "--out", tmp_path, "--slurm", "gpu,gpus=1,time=60")
    error = error_of(capsys, "reproduce", *words)
    assert "--slurm needs Slurm and `pip install submitit`" in error and "srun" in error
    given = {}

    class Executor(ThreadPoolExecutor):
        """Jobs in a thread; the third is killed, the fourth is not taken."""
        def __init__(self, folder: Path):
            super().__init__(1)

        def update_parameters(self, **words) -> None:
            given.update(words)

        def submit(self, make, job: Job) -> Future:
            call = pickle.loads(pickle.dumps(partial(make, job)))
            if job.path == Path("retrieval/D-16/IAS-B/seed0/IAS-B"):
                raise submitit.core.utils.FailedJobError("sbatch: error: no such partition")
            return super().submit(kill if job.row.name == "D-16" else call)

    def kill() -> None:
        raise submitit.core.utils.UncompletedJobError("Job 7\nhas no output (TIMEOUT)\nlog")

    monkeypatch.setattr(submitit, "SlurmExecutor", Executor)
    assert "no such partition" in error_of(capsys, "reproduce", *words)
    assert given["partition"] == "gpu"
    assert given["additional_parameters"] == {"time": "60", "gpus": "1"}
    rows = json.loads((tmp_path / "retrieval.json").read_text())["entries"]
    assert [bool(row["best"]) for row in rows] == [True, True, False, False]
    assert rows[2]["missing"] == "failed: Job 7 has no output (TIMEOUT)"
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert "pip install submitit" in error_of(capsys, "reproduce", *words)


@pytest.mark.slow
def test_jobs_of_submitit(runs, tmp_path, monkeypatch):
    """Its executor for one machine takes the same functions as that for Slurm."""
    submitit = pytest.importorskip("submitit")

    class Executor(submitit.LocalExecutor):
        def update_parameters(self, **words) -> None:
            super().update_parameters(setup=words["setup"])

    monkeypatch.setattr(submitit, "SlurmExecutor", Executor)
    words = (*FOUR, "--data", runs.data, "--out", tmp_path, "--slurm", "cpu", "--jobs", 2)
    assert run("reproduce", *words) == 0
    rows = json.loads((tmp_path / "retrieval.json").read_text())["entries"]
    assert len(rows) == 4 and all(row["best"] for row in rows)


def test_wrong_use(capsys):
    assert "found 'SimCML'" in error_of(capsys, "reproduce", "--methods", "SimCML")
    assert "leave out --data" in error_of(capsys, "reproduce", "--quick", "--data", "x")
    said = error_of(capsys, "reproduce", "--data", "nowhere")
    assert "--data: expected a folder of preprocess.py, found no nowhere" in said
    assert "no table has" in error_of(capsys, "reproduce", "--tables", "matching", "--datasets",
                                      "KS20")
