"""The tutorial notebook runs as it stands and opens with its pictures; a new user's first hour.

    python tests/test_tutorial.py FILE.ipynb       runs it and keeps in FILE what it shows
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples/tutorial.ipynb"


def executed() -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(ROOT)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
    return notebook


def pictures(notebook: nbformat.NotebookNode) -> int:
    shown = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return sum("image/png" in output.get("data", {}) for output in shown)


def test_it_opens_with_its_pictures():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert pictures(notebook) == 2
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    assert NOTEBOOK.stat().st_size < 200_000
    assert str(ROOT) not in NOTEBOOK.read_text()


@pytest.mark.slow
def test_it_runs():
    assert pictures(executed()) == 2


@pytest.mark.slow
def test_the_first_hour(tmp_path):
    """examples/first_hour.sh, with trainings of one epoch."""
    environment = os.environ | {"PYTHON": sys.executable, "EPOCHS": "1", "OMP_NUM_THREADS": "1"}
    words = "bash", str(ROOT / "examples/first_hour.sh"), str(tmp_path)
    done = subprocess.run(words, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clone/.demo/report/report.html").is_file()
    table = (tmp_path / "clone/table.tex").read_text()
    assert "SimMC" in table and r"\pm" in table and table.count(
        r"\toprule") == 2  # windows, recordings
    changed = "git", "status", "--porcelain", "--untracked-files=no"
    assert not subprocess.check_output(changed, cwd=tmp_path / "clone")
    assert "walk1.csv: " in done.stdout and "enrolled persons, " in done.stdout


if __name__ == "__main__":
    nbformat.write(executed(), sys.argv[1])
