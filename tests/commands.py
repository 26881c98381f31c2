"""Run a script of the project as a user does, inside the test's process."""

import importlib
import json
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from skeleton_reid.common.errors import run_command
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.parsing import run_training


def main(script: str) -> None:
    """What a script does as a command, given sys.argv."""
    methods = {own.script.removesuffix(".py"): name for name, own in METHODS.items()}
    module = importlib.import_module(script)
    if script in methods:
        run_training(methods[script], module.__doc__)
    else:
        module.main()


def run(script: str, *arguments: object) -> int:
    """Run a script, e.g. run("train_simmc", "--dataset", "KS20"). Returns the exit code."""
    previous = sys.argv
    sys.argv = [f"{script}.py", *map(str, arguments)]
    try:
        run_command(partial(main, script))
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = previous
    return 0


def results_of(script: str, *arguments: object) -> dict:
    """Run a script that must succeed, and return what it writes to --json."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        assert run(script, *arguments, "--json", file) == 0, (script, *arguments)
        return json.loads(file.read_text())


def score_files(stem: Path) -> dict:
    """The metrics of the feature files STEM.probe.npz and STEM.gallery.npz by evaluate.py."""
    files = (f"--{part}={stem}.{part}.npz" for part in ("probe", "gallery"))
    return results_of("evaluate", *files, "--quiet")


def error_of(capsys, script: str, *arguments: object) -> str:
    """Run a script that must refuse its input: exit code 2 and one line on stderr, which is
    returned.
    """
    capsys.readouterr()
    code = run(script, *arguments)
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    return error
