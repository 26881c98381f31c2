"""reproduce.py: what is run, skipped, gone on with, and how failures and interruptions end."""

import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from commands import error_of, run
from filelock import FileLock
from msgspec.structs import replace

from skeleton_reid.data import datasets
from skeleton_reid.reproduction import jobs as execution
from skeleton_reid.reproduction.experiments import METHOD_NAMES, TABLES, Job, jobs, plan
from skeleton_reid.reproduction.jobs import Runs


def job_of(table: str, row: str, column: str, seed: int = 0) -> Job:
    """One run of one cell of a table."""
    rows, columns = TABLES[table].rows, TABLES[table].columns
    (row,) = (each for each in rows if each.name == row)
    (column,) = (each for each in columns if each.name == column)
    return Job(table, row, column, seed)


def simmc(epochs: int = 1) -> Job:
    """A training with batches small enough for the data below."""
    job = job_of("retrieval", "SimMC", "IAS-A")
    return replace(job, row=replace(job.row, options="--batch_size 16"), epochs=epochs)


def test_every_command_is_accepted_by_its_script(tmp_path, capsys):
    """Each gets as far as looking for its data, of which there are none."""
    runs = Runs(tmp_path / "none", tmp_path / "runs", devices=["cpu"], quiet=True)
    seen = {}
    for job in jobs(plan(TABLES, list(datasets.DATASETS), METHOD_NAMES, 1)):
        seen.setdefault((job.table, job.row.name, job.column.dataset), job)
    for job in seen.values():
        words = runs.command(job)[1:]
        error = error_of(capsys, Path(words[0]).stem, *words[1:])
        data = f"no {job.column.dataset} data of length {job.column.length}"
        assert ("best.pt" if "--source {source}" in job.row.options else data) in error, (words,
                                                                                          error)


# Running


@pytest.fixture
def runs(tmp_path, write_dataset) -> Runs:
    """Small random IAS data, and nothing run yet."""
    data = tmp_path / "Datasets"
    write_dataset(data, "IAS", 6, persons=4, windows=8, rng=np.random.RandomState(0))
    return Runs(data, tmp_path / "runs", devices=["cpu"], quiet=True)


@pytest.fixture
def in_process(monkeypatch):
    """Scripts run in this process; a list of their command lines."""
    calls = []

    class Child:
        """A process that has ended."""
        def __init__(self, words: list[str], **_):
            calls.append(words[1:])
            self.returncode = run(Path(words[1]).stem, *words[2:])

        def communicate(self) -> tuple[str, str]:
            return "", ""

    monkeypatch.setattr(execution, "Popen", Child)
    return calls


def test_a_run_is_kept_and_made_again_only_if_it_would_differ(runs, in_process):
    job = replace(job_of("recognition", "Single-layer LSTM", "IAS-A"), epochs=1)
    assert runs.record(job) == {}
    record = runs.make(job)
    assert runs.record(job) == runs.make(job) == record and len(in_process) == 1
    assert set(record["result"]["tests"]) == {"A", "B"}
    assert runs.record(replace(job, seed=1)) == {}
    assert runs.record(replace(job, epochs=2)) == {}
    note = runs.data / "IAS" / "6" / "split.json"
    note.write_text(json.dumps({"simulated": True, "seed": 1}))  # other data in the same place
    assert runs.record(job) == {}


def test_an_interrupted_run_goes_on_to_the_same_metrics(runs, in_process, monkeypatch, tmp_path):
    job = simmc(epochs=3)
    whole = replace(runs, folder=tmp_path / "whole").make(job)
    child = execution.Popen

    def stop_after_two(words: list[str], **options):
        stopped = child([word if word != "3" else "2" for word in words], **options)
        stopped.returncode = 130
        return stopped

    with monkeypatch.context() as patch:
        patch.setattr(execution, "Popen", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            runs.make(job)
    spent = runs.record(job)["seconds"]
    assert spent > 0 and "result" not in runs.record(job)
    record = runs.make(job)
    assert "--resume" in in_process[-1] and "--resume" not in in_process[-2]
    for name in ("best", "last", "untrained"):
        assert record["result"][name] == whole["result"][name]
    assert record["seconds"] == runs.record(job)["seconds"] > spent


def test_files_of_a_run_of_other_settings_are_not_gone_on_with(runs, in_process):
    runs.make(simmc())
    record = runs.make(simmc(epochs=2))
    assert "--resume" not in in_process[-1]
    assert record["result"]["epochs"] == 2


def test_the_second_split_takes_the_encoder_of_the_first(runs, in_process):
    """Whichever is made first; files of both lie with the first's."""
    settings = "--D_h 4 --P 2 --batch_size 16 --pre_epochs 1 --recognition_epochs 1"
    row = replace(job_of("recognition", "SM-SGE", "IAS-B").row, options=settings)
    second = replace(job_of("recognition", "SM-SGE", "IAS-B"), row=row)
    assert "result" in runs.make(second)
    assert [words[words.index("--probe") + 1] for words in in_process] == ["A", "B"]
    out = [words[words.index("--out") + 1] for words in in_process]
    assert out[0] == out[1] and "--pre_train" in in_process[1]
    (first,) = second.needs
    assert "result" in runs.record(first) and "result" in runs.record(second)


def test_data_of_ones_own_are_a_column(described, write_dataset, in_process, tmp_path, capsys):
    own, data, out = described("coco", "csv", ".csv"), tmp_path / "Datasets", tmp_path / "out"
    write_dataset(data, own, 6, persons=4, windows=8, rng=np.random.RandomState(0))
    words = ("reproduce", "--datasets", f"{own},KS20", "--data", data, "--out", out, "--quiet")
    assert run(*words, "--methods", "mean-pose,LSTM", "--epochs", 1) == 0
    assert len(in_process) == 2
    for table in ("retrieval", "recognition"):
        found = json.loads((out / f"{table}.json").read_text())["entries"]
        ours, (entry,) = [each["column"] for each in found], [e for e in found if e["best"]]
        assert ours == ["KS20", "own"] and entry["column"] == "own" and not entry["published"]
    assert not list(out.rglob("*.yaml")) and "matching" not in capsys.readouterr().out
    assert "nowhere.yaml: expected" in error_of(capsys, "reproduce", "--datasets", "nowhere.yaml")


def test_missing_data_are_named_with_where_they_can_be_had(runs):
    words = "no KS20 data of length 6 (docs/01-data.md)"
    assert runs.record(job_of("retrieval", "D-13", "KS20")) == words
    assert runs.record(job_of("retrieval", "D-13", "IAS-A")) == {}
    needed = runs.record(job_of("transfer_age", "LAS, transfer", "IAS-A"))
    assert needed == "no KGBD data of length 6 (docs/01-data.md)"


# The command


def test_command_writes_tables_and_skips_what_is_done(runs, in_process, tmp_path, capsys):
    words = ("reproduce", "--tables", "retrieval", "--datasets", "IAS,KS20")
    words += ("--methods", "d-13,mean-pose,published")
    where = ("--data", runs.data, "--out", tmp_path / "out", "--quiet")
    assert run(*words, *where, "--list") == 0
    listed = capsys.readouterr().out
    assert listed.count("\nto run ") == 4 and listed.count("no KS20 data of length 6") == 1
    assert "retrieval           2 no data, 4 to run" in listed
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
    assert starts[:2] == ["    r", "    r"] and starts[-1] == "[4/4]" and len(starts) == 8
    assert "retrieval/D-16/IAS-A/seed0: failed: it cannot be" in printed
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
    time.sleep(0.2)  # seconds are rounded
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    saved = list(out.rglob("*.saved"))
    assert process.returncode == 130 and len(saved) == len(begun) == 3
    assert errors == "interrupted; what was saved is whole: go on\n"
    spent = [json.loads(path.with_name("record.json").read_text()) for path in saved]
    assert all(record["seconds"] > 0 and "result" not in record for record in spent)


def test_two_processes_in_a_folder_make_each_run_once(runs, tmp_path):
    """Each run is made once, and both have the whole table."""
    words = command(tmp_path / "out", runs.data, scripts(tmp_path / "project", tenths=5))
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=200)[0] for process in both]
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
    released = time.monotonic() + 2
    assert run("reproduce", *words, "--list") == 0
    assert run("reproduce", *words) == 0
    assert capsys.readouterr().out.splitlines()[-2] == "[4/4] retrieval/D-16/IAS-B/seed0: done"
    assert time.monotonic() > released - 0.1 and len(in_process) == 4


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

    assert end("sys.exit('error: no data')") == "failed: no data"
    assert end("1 / 0") == "failed: ZeroDivisionError: division by zero"
    assert end("sys.exit(7)") == "failed: exit code 7"
    with pytest.raises(KeyboardInterrupt):
        end("sys.exit(130)")
    capfd.readouterr()
    result = str(runs.folder / "retrieval/D-13/IAS-A/seed0/result.json")
    record = end(f"print('warning: w', file=sys.stderr); open({result!r}, 'w').write('[1]')")
    assert record["result"] == [1] and capfd.readouterr().err == "warning: w\n"


def test_slurm(runs, tmp_path, monkeypatch, capsys):
    """Every run is a job of srun, which gets the options as they are."""
    monkeypatch.setattr(execution, "PROJECT", scripts(tmp_path / "project"))
    words = ("reproduce", *FOUR, "--data", runs.data, "--out", tmp_path / "out", "--jobs", 2)
    words += ("--slurm", "gpu,gpus=1,time=60")
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is none
    assert "srun" in error_of(capsys, *words)
    (tmp_path / "srun").write_text(f"""#!{sys.executable}
import os, sys
options = [word for word in sys.argv[1:7] if word.startswith("--")]
if "D-16" in sys.argv:
    sys.exit("srun: error: it took too long")
os.environ["OMP_NUM_THREADS"] = " ".join(options)
os.execv(sys.argv[len(options) + 1], sys.argv[len(options) + 1:])
""")
    (tmp_path / "srun").chmod(0o755)
    assert run(*words) == 2
    rows = json.loads((tmp_path / "out/retrieval.json").read_text())["entries"]
    assert [bool(row["best"]) for row in rows] == [True, True, False, False]
    assert rows[2]["note"] == "failed: srun: error: it took too long"
    options = ["--quit-on-interrupt", "--time=1-0", "--partition=gpu", "--gpus=1", "--time=60"]
    begun = [path.read_text().split() for path in (tmp_path / "out").rglob("*.begun")]
    assert begun == [options, options]
    assert rows[0]["machines"][0].startswith("srun --quit-on-interrupt")


def test_wrong_use(capsys):
    assert "found 'SimCML'" in error_of(capsys, "reproduce", "--methods", "AGE,SimCML")
    assert "leave out --data" in error_of(capsys, "reproduce", "--quick", "--data", "x")
    said = error_of(capsys, "reproduce", "--data", "nowhere")
    assert "--data: expected a folder of preprocess.py, found no nowhere" in said
    assert "no table has" in error_of(capsys, "reproduce", "--tables", "matching", "--datasets",
                                      "KS20")
