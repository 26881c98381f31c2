"""reproduce.py: what is planned, skipped, gone on with; the tables against a small case by hand."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import error_of, run

from data import datasets
from reid import comparison, execution, settings
from reid.errors import InputError
from reid.execution import Place
from reid.experiments import COLUMNS, METHODS, ROWS, Cell, Column, Job, Row, jobs, plan, published

TABLES, NAMES = list(COLUMNS), list(datasets.DATASETS)


def row(table: str, name: str) -> Row:
    return next(r for r in ROWS if (r.table, r.name) == (table, name))


def column(table: str, name: str) -> Column:
    return next(c for c in COLUMNS[table] if c.name == name)


# --- the declaration


def test_published_rows_and_columns_are_those_of_the_tables():
    for table, columns in COLUMNS.items():
        papers = published()[table]
        known = {c.name for c in columns}
        for name, figures in papers["rows"].items():
            assert set(figures) <= known, (table, name)
            assert all(len(values) == len(papers["metrics"]) for values in figures.values())
    ours = {(r.table, r.name) for r in ROWS}
    assert len(ours) == len(ROWS)
    for table in ("retrieval", "recognition", "cross_view", "matching", "ablation_scales"):
        assert {(table, name) for name in published()[table]["rows"]} <= ours


def test_published_figures_by_sample():
    assert published()["retrieval"]["rows"]["SimMC"]["KS20"] == [66.4, 80.7, 87.0, 22.3]
    assert published()["recognition"]["rows"]["SM-SGE"]["IAS-B"] == [69.8, 90.4]
    assert published()["matching"]["rows"]["SimMC"]["cl.nm"] == [5.4, 25.6]
    assert published()["cross_view"]["rows"]["SM-SGE"]["180"] == [13.6]


def test_every_command_is_accepted_by_its_script(tmp_path, capsys):
    """Each gets as far as looking for its data, of which there are none."""
    place = Place(tmp_path / "none", tmp_path / "runs", tmp_path / "models", device="cpu", quiet=True)
    seen = {}
    for job in jobs(plan(TABLES, NAMES, METHODS, 1)):
        seen.setdefault((job.row.table, job.row.name, job.column.dataset), job)
    for job in seen.values():
        words = execution.command(job, place)[1:]
        error = error_of(capsys, Path(words[0]).stem, *words[1:])
        lacking = "no such" if job.source else f"no {job.column.dataset} data of length {job.column.length}"
        lacking = lacking if not job.source else "best.pt"
        assert lacking in error, (words, error)


# --- planning


def test_filters_and_seeds():
    cells = plan(["retrieval"], ["KS20"], ["D-13", "SimMC"], seeds=3)
    assert [(c.row.name, c.column.name, len(c.jobs)) for c in cells] == [
        ("D-13", "KS20", 1),  # the seed makes no difference
        ("SimMC", "KS20", 3),
    ]
    assert plan(["matching"], ["KS20"], METHODS, 1) == []


def test_one_run_of_age_serves_both_splits_and_smsge_shares_its_encoder():
    cells = plan(["recognition"], ["IAS"], ["AGE", "SM-SGE"], seeds=1)
    assert len(cells) == 4
    work = jobs(cells)
    words = [" ".join([job.row.script, *job.words]) for job in work]
    assert words == [
        "train_age.py --dataset IAS --length 6 --seed 0",
        "train_smsge.py --dataset IAS --probe A --length 6 --seed 0",
        "train_smsge.py --dataset IAS --probe B --length 6 --seed 0 --pre_train 0",
    ]
    assert work[1].folder == work[2].folder


def test_a_run_comes_after_the_one_whose_encoder_it_uses():
    work = jobs(plan(["retrieval"], NAMES, METHODS, seeds=2))
    place = {(job.folder, job.name): i for i, job in enumerate(work)}
    assert len(place) == len(work)
    for job in work:
        for needed in job.needs:
            assert place[needed.folder, needed.name] < place[job.folder, job.name]


def test_views_are_apart():
    work = jobs(plan(["cross_view"], NAMES, ["SM-SGE"], seeds=1))
    assert len(work) == 11
    assert len({job.folder for job in work}) == 11
    assert work[3].words[:4] == ["--dataset", "CASIA_B", "--view", "3"]
    assert not any("--pre_train" in job.words for job in work)


def test_thin_plan_has_every_method_of_a_table_once_and_all_data_sets():
    cells = plan(TABLES, NAMES, METHODS, 1, thin=True)
    found = [(c.row.table, c.row.method) for c in cells]
    assert len(found) == len(set(found))
    assert set(found) == {(r.table, r.method) for r in ROWS}
    assert {c.column.dataset for c in cells} == set(NAMES)
    assert all(not job.needs or job.source for job in jobs(cells))  # each has an encoder of its own


# --- running


@pytest.fixture
def place(tmp_path, write_dataset) -> Place:
    """Small random IAS data, and nothing run yet."""
    write_dataset(tmp_path / "Datasets", "IAS", 6, persons=4, windows=8, rng=np.random.RandomState(0))
    return Place(tmp_path / "Datasets", tmp_path / "runs", tmp_path / "models", "cpu", epochs=1, quiet=True)


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
    job = Job(row("recognition", "Single-layer LSTM"), column("recognition", "IAS-A"), 0)
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
    simmc = row("retrieval", "SimMC")
    job = Job(simmc, column("retrieval", "IAS-A"), 0)
    monkeypatch.setitem(settings.SIMMC_DEFAULT, "batch_size", 16)
    three = Place(place.data, place.runs, place.models, "cpu", epochs=3, quiet=True)
    whole = execution.perform(job, Place(place.data, tmp_path / "whole", place.models, "cpu", 3, True))

    from reid.runs import Run

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
    job = Job(row("retrieval", "SimMC"), column("retrieval", "IAS-A"), 0)
    execution.perform(job, place)
    capped = Place(place.data, place.runs, place.models, "cpu", epochs=2, quiet=True)
    record = execution.perform(job, capped)
    assert "--resume" not in in_process[-1]
    assert record["result"]["epochs"] == 2


def test_a_run_that_is_done_is_made_anew_from_the_start(place, in_process, monkeypatch):
    monkeypatch.setitem(settings.SIMMC_DEFAULT, "batch_size", 16)
    job = Job(row("retrieval", "SimMC"), column("retrieval", "IAS-A"), 0)
    first, second = execution.perform(job, place), execution.perform(job, place)
    assert not any("--resume" in words for words in in_process)
    assert first["result"]["best"] == second["result"]["best"]


def test_a_run_by_hand_counts_if_its_settings_are_the_published_ones(place, tmp_path):
    whole = Place(place.data, place.runs, place.models, "cpu")
    job = Job(row("retrieval", "SimMC"), column("retrieval", "IAS-A"), 0)
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
    for change in ({"protocol": "released"}, {"stopped": "30 epochs done"}, {"data": {"simulated": True}}):
        path.write_text(json.dumps(result | change))
        assert execution.finished(job, whole) is None
    path.write_text(json.dumps(result | {"settings": result["settings"] | {"eps": 0.7}}))
    assert execution.finished(job, whole) is None


def test_missing_data_are_named_with_where_they_can_be_had(place):
    reason = execution.missing(Job(row("retrieval", "D-13"), column("retrieval", "KS20"), 0), place)
    assert reason.startswith("no KS20 data of length 6: looked in")
    assert "the real data come from" in reason
    assert execution.missing(Job(row("retrieval", "D-13"), column("retrieval", "IAS-A"), 0), place) is None


# --- the command


def test_command_writes_tables_skips_what_is_done_and_survives_failures(
    place, in_process, tmp_path, capsys, monkeypatch
):
    words = ("reproduce", "--tables", "retrieval", "--datasets", "IAS,KS20", "--methods", "d-13,mean-pose")
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


def test_end_of_a_script(capfd):
    python = [sys.executable, "-c"]
    execution._call([*python, "import sys; print('warning: w', file=sys.stderr)"], quiet=True)
    assert capfd.readouterr().err == "warning: w\n"
    with pytest.raises(InputError, match="no data"):
        execution._call(
            [*python, "import sys; print('error: no data', file=sys.stderr); sys.exit(2)"], quiet=True
        )
    with pytest.raises(InputError, match="ZeroDivisionError: division by zero"):
        execution._call([*python, "1 / 0"], quiet=True)
    with pytest.raises(KeyboardInterrupt):
        execution._call([*python, "import sys; sys.exit(130)"], quiet=True)


def test_wrong_use(capsys):
    assert "unknown simcml" in error_of(capsys, "reproduce", "--methods", "SimCML")
    assert "leave out --data" in error_of(capsys, "reproduce", "--quick", "--data", "x")
    assert "no table has" in error_of(capsys, "reproduce", "--tables", "matching", "--datasets", "KS20")


# --- tables


def record(best: float, last: float, epoch: int, simulated: bool = False) -> dict:
    def figures(share: float) -> dict:
        return {"top1": share, "top5": share + 0.1, "top10": share + 0.2, "mAP": share / 2}

    result = {
        **figures(best), "best": figures(best) | {"epoch": epoch}, "last": figures(last),
        "untrained": figures(0.3), "settings": {"lr": 0.1}, "data": {"simulated": simulated},
    }  # fmt: skip
    made_by = {"code": "abc", "machine": "a machine", "device": "cpu"}
    return {"key": {"epochs": None}, "seconds": 90.0, "made_by": made_by, "result": result}


def test_table_by_hand(tmp_path):
    cell = Cell(row("retrieval", "SimMC"), column("retrieval", "KS20"), ())
    entry = comparison.compare(
        cell, {0: record(0.60, 0.50, 7), 2: record(0.70, 0.60, 9)}, ["seed 1: failed: x"]
    )
    assert entry.published == [66.4, 80.7, 87.0, 22.3]
    assert entry.best == pytest.approx([65, 75, 85, 32.5])
    assert entry.spread == pytest.approx([50**0.5, 50**0.5, 50**0.5, 12.5**0.5])
    assert entry.last == pytest.approx([55, 65, 75, 27.5])
    assert entry.difference == pytest.approx([-1.4, -5.7, -2.0, 10.2])
    assert entry.untrained == pytest.approx([30, 40, 50, 15])
    comparison.write(tmp_path, "retrieval", [entry])
    text = (tmp_path / "retrieval.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| SimMC"))
    assert line == (
        "| SimMC | 66.4/80.7/87.0/22.3 | 65.0±7.1/75.0±7.1/85.0±7.1/32.5±3.5 | -1.4/-5.7/-2.0/+10.2 | "
        "55.0/65.0/75.0/27.5 | 30.0/40.0/50.0/15.0 | 7, 9 | 0, 2 | 3 min | seed 1: failed: x |"
    )
    assert "simulated" not in text.replace("simulated False", "")
    assert "Machine: a machine." in text and "- SimMC: lr 0.1" in text
    lines = list(csv.DictReader((tmp_path / "retrieval.csv").read_text().splitlines()))
    assert [line["metric"] for line in lines] == ["top1", "top5", "top10", "mAP"]
    assert float(lines[3]["difference"]) == pytest.approx(10.2)
    assert (lines[0]["seeds"], lines[0]["seconds"]) == ("0 2", "180.0")
    content = json.loads((tmp_path / "retrieval.json").read_text())
    assert content["entries"][0]["best"] == entry.best


def test_simulated_figures_say_so_and_have_no_difference(tmp_path):
    cell = Cell(row("retrieval", "SimMC"), column("retrieval", "KS20"), ())
    entry = comparison.compare(cell, {0: record(0.60, 0.50, 7, simulated=True)}, [])
    assert entry.simulated and entry.difference is None and entry.spread is None
    text = comparison.as_markdown("retrieval", [entry])
    assert "## KS20 (simulated data: not comparable with published figures)" in text
    assert "best, simulated" in text and "untrained, simulated" in text


def test_cap_of_epochs_and_other_code_are_noted():
    cell = Cell(row("retrieval", "SimMC"), column("retrieval", "KS20"), ())
    capped = record(0.60, 0.50, 2)
    capped["key"]["epochs"] = 2
    entry = comparison.compare(cell, {0: capped}, [], code="xyz")
    assert entry.note == "stopped after 2 epochs; made by another state of the code"


def test_figures_of_a_split_among_several():
    tests = {
        name: {"best": {"rank1": share}, "last": {"rank1": 0.1}} for name, share in (("A", 0.5), ("B", 0.6))
    }
    assert comparison.figures({"tests": tests, "rank1": 0.5}, "B")["best"] == {"rank1": 0.6}
    baseline = {"top1": 0.2}
    assert comparison.figures(baseline, "A") == {"best": baseline, "last": baseline, "untrained": None}


def test_sizes(tmp_path, capsys):
    assert run("reproduce", "--tables", "sizes", "--out", tmp_path) == 0
    rows = {e["row"]: e for e in json.loads((tmp_path / "sizes.json").read_text())["entries"]}
    assert rows["SimMC"]["encoder"] == (60 + 1) * 256 + 2 * (256 + 1) * 256
    assert rows["SM-SGE"]["encoder"] + rows["SM-SGE"]["network"] == 5_582_030  # published: 5.58 M
    assert rows["SM-SGE"]["published"] == [5.58, 22.61]
    assert rows["SM-SGE + SimMC"]["network"] == (1024 + 1) * 256 + 2 * (256 + 1) * 256
    assert rows["SimMC"]["operations"] == 2 * 6 * (60 * 256 + 256 * 256)
    assert "| SimMC | 147,200 | 0 | 147,200 |" in (tmp_path / "sizes.md").read_text()
    assert len((tmp_path / "sizes.csv").read_text().splitlines()) == 6


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
        "from reid.errors import run_command; from reid.execution import _call\n"
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
