"""One process at a time in a folder: what the second one is told, and what a dead one leaves
behind.
"""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from commands import error_of, run

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import hold
from skeleton_reid.data import datasets
from skeleton_reid.engine.history import History
from skeleton_reid.engine.methods.simmc import SimMCSettings
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.run import Run

HOLD = """
import sys
from pathlib import Path
from skeleton_reid.common.files import hold
lock = hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(path):
    """Another process that holds a lock, until it is killed without a chance to clean up."""
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def test_the_second_process_is_refused_until_the_first_is_dead(tmp_path):
    path = tmp_path / "folder" / "run.lock"
    with other_process(path) as process:
        for _ in range(2):
            with pytest.raises(InputError) as error:
                hold(path)
        message = str(error.value)
        assert "another process is at work" in message
        assert str(path.parent) in message
        assert "another folder" in message
        assert "\n" not in message
    assert process.returncode == -signal.SIGKILL
    assert path.is_file()  # the dead one's file bars nobody
    hold(path).release()


def test_a_process_gives_a_lock_back(tmp_path):
    path = tmp_path / "run.lock"
    hold(path).release()
    assert not path.exists()
    with other_process(path), pytest.raises(InputError):
        hold(path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="could not write"):
        hold(tmp_path / "file" / "run.lock")


def test_training_is_refused_in_a_folder_in_use_and_evaluation_is_not(tmp_path, write_dataset,
                                                                      capsys):
    write_dataset(tmp_path / "data", "KS20", 6, 4, 8, np.random.RandomState(0))
    words = ("--dataset", "KS20", "--data", tmp_path / "data", "--out", tmp_path / "out", "--H", 8,
             "--quiet")
    words += ("--batch_size", 16, "--json", tmp_path / "r.json")
    assert run("train_simmc", *words, "--epochs", 1) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    folder = tmp_path / "out" / "KS20" / "probe"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.lock"}
    with other_process(folder / "run.lock"):
        for options in (("--epochs", 2), ("--epochs", 2, "--resume")):
            error = error_of(capsys, "train_simmc", *words, *options)
            assert "another process is at work" in error
            assert str(folder) in error
        assert run("train_simmc", *words, "--mode", "Eval") == 0
    assert json.loads((tmp_path / "r.json").read_text())["top1"] == result["top1"]
    assert {name: (folder / name).read_bytes() for name in before} == before  # the log too
    assert run("train_simmc", *words, "--epochs", 2, "--resume") == 0


def test_probes_that_share_a_folder_do_not_wait_for_each_other(tmp_path):
    """CASIA_B's probe types are prefixes of the files of one folder."""
    options = TrainingOptions(datasets.get("CASIA_B"), "nm.nm", 40, tmp_path,
                              settings=SimMCSettings())
    folder = tmp_path / "out" / "CASIA_B"
    with other_process(tmp_path / "out" / "CASIA_B" / "nm.nm_run.lock"):
        with pytest.raises(InputError, match="at work"):
            Run("SimMC", options, folder, "nm.nm_").open()
        run = Run("SimMC", replace(options, probe="cl.nm"), folder, "cl.nm_")
        left = [folder / f".{probe}_last.pt.1.tmp" for probe in ("nm.nm", "cl.nm")]
        for file in left:  # of runs that were killed; the other one may be alive
            file.touch()
        run.open()
        History(run, {}).begin()
        run.at_the_end.close()
        assert [file.exists() for file in left] == [True, False]
