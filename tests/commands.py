"""Run a script of the project as a user does, inside the test's process."""

import importlib
import sys

from reid.errors import run_command


def run(script: str, *arguments: object) -> int:
    """Call `main` of a script, e.g. run("train_simmc", "--dataset", "KS20"). Returns the exit code."""
    previous = sys.argv
    sys.argv = [f"{script}.py", *map(str, arguments)]
    try:
        run_command(importlib.import_module(script).main)
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = previous
    return 0


def error_of(capsys, script: str, *arguments: object) -> str:
    """Run a script that must refuse its input: exit code 2 and one line on stderr, which is returned."""
    capsys.readouterr()
    code = run(script, *arguments)
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    return error
