"""examples/method, copied into a checkout as its README says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
RUN = """
import runpy, sys
train = "train_linear.py --out runs --quiet --batch_size 16 --epochs"
for number, words in enumerate((f"{train} 1", f"{train} 3 --resume",
                                "evaluate.py --checkpoint runs/Linear/KS20/probe/best.pt")):
    sys.argv = f"{words} --data data_sets --dataset KS20 --json {number}.json".split()
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
ROOMS = ("common", "data", "engine", "models", "reid", "skeleton_reid", "tensorflow_v1")


def test_three_files_and_two_lines_are_a_method(tmp_path, write_dataset):
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room)
    for file in ("pyproject.toml", "evaluate.py"):
        shutil.copy(ROOT / file, tmp_path)
    shutil.copytree(ROOT / "examples" / "method", tmp_path, dirs_exist_ok=True)
    table = tmp_path / "engine" / "methods" / "__init__.py"
    before = table.read_text()
    after = before.replace(" himpc,", " himpc, linear,")
    changed = [a != b for a, b in zip(before.splitlines(), after.splitlines(), strict=True)]
    assert sum(changed) == 2
    table.write_text(after)
    write_dataset(tmp_path / "data_sets", "KS20", 6, 6, 8, np.random.RandomState(0), noise=2.0)

    environment = os.environ | {"PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, env=environment, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    result, best = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2))
    assert result["last"]["epoch"] == 3 and result["supervision"] == "none"
    assert best["mAP"] == result["best"]["mAP"]
