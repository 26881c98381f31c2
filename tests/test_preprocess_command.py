"""The command preprocess.py: what it says, replaces and leaves, and its processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from raw_data import random_kgbd, read_split, refused, run, write_casia_b, write_kgbd

from skeleton_reid.data.prepare import staged
from skeleton_reid.data.raw import kgbd

ROOT = Path(__file__).parents[1]


def test_all_says_what_it_skips(released_trees, tmp_path, capsys):
    shutil.copytree(released_trees / "BIWI", tmp_path / "BIWI")
    run(6, "--raw", tmp_path, "--out", tmp_path / "out")
    printed = capsys.readouterr().out.replace("\n  ", " ")
    assert f"skipped KS20: expected raw data, found none in {tmp_path / 'KS20'};" in printed
    assert f"{tmp_path / 'out' / 'BIWI' / '6'}: windows train 67, Walking 4, Still 6" in printed


def test_second_run_replaces_the_first(released_trees, tmp_path):
    for seed in (0, 1):
        run(6, "--raw", released_trees, "--out", tmp_path, "--dataset", "KGBD", "--seed", seed)
    folder = tmp_path / "KGBD" / "6"
    assert sorted(path.name for path in folder.iterdir()) == [
        "split.json", "test_npy_data", "train_npy_data"
    ]
    assert read_split(folder)["seed"] == 1


def test_interrupted_writing_leaves_the_old_files(tmp_path):
    (tmp_path / "train_npy_data").mkdir()
    (tmp_path / "split.json").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged(tmp_path) as staging:
        (staging / "train_npy_data").mkdir()
        (staging / "split.json").write_text("new")
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == ["split.json", "train_npy_data"]
    assert (tmp_path / "split.json").read_text() == "old"


def test_runs_as_a_program(released_trees, tmp_path):
    command = [sys.executable, "preprocess.py", "6", "--raw", released_trees, "--out", tmp_path]
    done = subprocess.run([*command, "--dataset", "KGBD"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "train 14, gallery 19, probe 12" in done.stdout
    refused = subprocess.run([*command, "--dataset", "CASIA_B"], cwd=ROOT, capture_output=True,
                             text=True)
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_more_processes_write_the_same_bytes(released_trees, tmp_path):
    """BIWI, IAS, KGBD and KS20; CASIA_B below."""
    for jobs in (1, 3):
        run(6, "--raw", released_trees, "--out", tmp_path / f"all{jobs}", "--jobs", jobs)
    assert contents(tmp_path / "all1") == contents(tmp_path / "all3") != {}
    write_casia_b(tmp_path / "CASIA_B", persons=4, frames=25)
    for jobs in (1, 2):
        run(20, "--raw", tmp_path, "--out", tmp_path / str(jobs), "--jobs", jobs)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") != {}


def test_more_processes_end_with_the_error_of_the_first_broken_file(tmp_path, capsys):
    frames = random_kgbd(persons=4, recordings=4, length=40)
    write_kgbd(tmp_path / "Data", frames)
    for name in ("Person002/3.txt", "Person004/1.txt"):
        (tmp_path / "Data" / name).write_text("Head;1;2\n")
    words = (6, "--raw", tmp_path, "--out", tmp_path / "out", "--dataset", "KGBD")
    said = refused(capsys, *words, "--jobs", 2)
    assert "Person002/3.txt, line 1" in said and said == refused(capsys, *words)
    assert not (tmp_path / "out").exists()


def die(path: Path) -> None:
    os._exit(9)


def test_a_process_that_dies_is_no_traceback(released_trees, tmp_path, monkeypatch, capsys):
    """As one does that the system ends for its memory."""
    monkeypatch.setattr(kgbd, "read_recording", die)
    words = (6, "--raw", released_trees, "--out", tmp_path, "--dataset", "KGBD", "--jobs", 2)
    assert "not enough memory" in refused(capsys, *words)


def test_an_interruption_ends_all_processes(tmp_path):
    """As on a terminal, where Ctrl-C reaches every one of them."""
    frames = random_kgbd(persons=1, recordings=1, length=100)
    write_kgbd(tmp_path / "Data", frames)
    for number in range(2, 400):
        shutil.copy(tmp_path / "Data" / "Person001" / "1.txt",
                    tmp_path / f"Data/Person001/{number}.txt")
    command = [sys.executable, "preprocess.py", "6", "--dataset", "KGBD", "--jobs", "2"]
    command += ["--raw", tmp_path, "--out", tmp_path / "out"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    assert process.stdout.readline().startswith("KGBD: reading")
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 130
    assert errors == "interrupted; what was saved is whole: run again\n"
    assert not (tmp_path / "out").exists()
