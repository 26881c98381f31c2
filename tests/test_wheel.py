"""The package as pip installs it, beside a project that has folders of the same names."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkpoints import write

ROOT = Path(__file__).parent.parent
ROOMS = ("common", "data", "engine", "models", "tools")
USE = """
import common, data, engine, models, tools
assert {each.OWN for each in (common, data, engine, models, tools)} == {1}
import numpy as np, skeleton_reid
encoder = skeleton_reid.load("best.pt", "cpu")
gallery = skeleton_reid.Gallery(encoder)
gallery.add("anna", np.random.RandomState(0).normal(size=(12, 20, 3)))
gallery.save("people.gallery")
assert skeleton_reid.Gallery.load("people.gallery").names == ["anna"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """installed(*words): run Python in a user's project that sees the files of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
                           cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for file in filter(None, files):
        if not file.startswith(("tests/", "docs/")) and (ROOT / file).is_file():
            (folder / "source" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / "source" / file)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source"],
        check=True, capture_output=True)  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name.partition("-")[0] for name in names} == {"skeleton_reid"}
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel],
                   check=True, capture_output=True)  # fmt: skip
    shutil.rmtree(folder / "source")
    project = folder / "project"
    for room in ROOMS:
        (project / room).mkdir(parents=True)
        (project / room / "__init__.py").write_text("OWN = 1\n")
    write(project / "best.pt", "SimMC")

    def python(*words):
        environment = {"PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, *map(str, words)], cwd=project, text=True,
                              capture_output=True, env=environment)

    return python


def test_three_lines_of_python_in_a_project_with_folders_of_the_same_names(installed):
    done = installed("-c", USE)
    assert done.returncode == 0, done.stderr


def test_console_commands(installed):
    installed("-c", USE)  # makes the gallery
    done = installed("-m", "skeleton_reid", "gallery", "list", "people.gallery")
    assert done.returncode == 0 and "anna" in done.stdout, done.stderr
    for words, code, said in ((("evaluate", "--checkpoint", "none.pt"), 2,
                               "no checkpoint at none.pt"), (("preprocess", "--help"), 0,
                                                             "usage: skeleton-reid preprocess F"),
                              (("train_simmc",), 2,
                               "expected one of compare, evaluate, export, gallery"),
                              (("evaluate", "--features", "D-13"), 2, "expected --dataset")):
        done = installed("-m", "skeleton_reid", *words)
        assert done.returncode == code and said in done.stdout + done.stderr, done.stderr
