"""How a command ends on the terminal: one line, an exit code, and no traceback of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import error_of

from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.common.files import hold

ROOT = Path(__file__).parent.parent


def test_what_the_system_says_has_no_number(tmp_path, capsys):
    said = error_of(capsys, "preprocess", 6, "--dataset", tmp_path / "nope.yaml")
    assert said == (f"error: {tmp_path}/nope.yaml: expected a YAML file (docs/09-own-data.md), "
                    "found No such file or directory\n")
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as error:
        hold(tmp_path / "file" / "run.lock")
    assert "Errno" not in str(error.value) and "choose another folder" in str(error.value)

    def main():
        raise OSError(28, "No space left on device", "x.npy")

    with pytest.raises(SystemExit):
        run_command(main)
    expected = "error: could not read or write x.npy: No space left on device\n"
    assert capsys.readouterr().err == expected


def test_an_interruption_while_pytorch_is_imported_is_one_line():
    code = ("from skeleton_reid.common.errors import run_command; run_command(lambda: None); "
            "raise KeyboardInterrupt")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr == "interrupted: run again\n"


@pytest.mark.parametrize(
    "error",
    [MemoryError("9 TiB"), RuntimeError("CUDA out of memory. Tried 9 GiB")])
def test_too_little_memory_is_one_line(capsys, error):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: not enough memory")


def test_other_faults_are_not_hidden():
    def main():
        raise RuntimeError("a fault of the program")

    with pytest.raises(RuntimeError, match="fault"):
        run_command(main)


def test_a_reader_that_has_gone_ends_a_command_quietly(tmp_path):
    """As `command | head -1` does."""
    code = ("import logging, sys\nfrom skeleton_reid.common.log import log, start_log\n"
            "from skeleton_reid.common.errors import run_command\n"
            "def main():\n    start_log(False)\n    for n in range(10**5): log.info('a line')\n"
            "run_command(main)")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "a line\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
