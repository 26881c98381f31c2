"""Files with a flipped bit: refused in one line, or read with the very same content; never a
traceback, never other metrics.
"""

import json

import numpy as np
import pytest
from commands import run

FLIPS = 50  # of each kind


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Simulated raw files of KS20, their windows, a checkpoint of SimMC and its feature files."""
    root = tmp_path_factory.mktemp("damage")
    raw = ("--dataset", "KS20", "--raw", root / "raw")
    assert run("data.simulate", *raw, "--persons", 3, "--frames", 8) == 0
    assert run("preprocess", 6, *raw, "--out", root / "data") == 0
    small = ("--H", 4, "--batch_size", 8, "--epochs", 1, "--quiet")
    words = ("--dataset", "KS20", "--data", root / "data", "--out", root / "out", *small)
    assert run("train_simmc", *words, "--save_features", root / "x.npz") == 0
    return root


def metrics_of(root, *words):
    """Exit code and metrics of evaluate.py."""
    file = root / "metrics.json"
    file.unlink(missing_ok=True)
    code = run("evaluate", *words, "--quiet", "--json", file)
    content = json.loads(file.read_text()) if file.exists() else None
    return code, content and {name: content[name] for name in ("top1", "top5", "top10", "mAP")}


def flip(rng, path):
    """Flip one random bit of a file. Returns what it held before."""
    before = path.read_bytes()
    damaged = bytearray(before)
    damaged[rng.randint(len(before))] ^= 1 << rng.randint(8)
    path.write_bytes(damaged)
    return before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoint", "windows", "features"])
def test_a_flipped_bit_changes_no_metric(whole, capsys, kind):
    best = whole / "out" / "KS20" / "probe" / "best.pt"
    data = ("--dataset", "KS20", "--data", whole / "data")
    words, files = {
        "checkpoint": (("--checkpoint", best, *data), [best]),
        "windows": (("--features", "D-13", *data),
                    sorted((whole / "data" / "KS20" / "6" / "test_npy_data").rglob("*.*"))),
        "features": ((f"--probe={whole / 'x.probe.npz'}", f"--gallery={whole / 'x.gallery.npz'}"),
                     [whole / "x.probe.npz", whole / "x.gallery.npz"]),
    }[kind]  # fmt: skip
    code, expected = metrics_of(whole, *words)
    assert code == 0
    rng, refused = np.random.RandomState(0), 0
    for number in range(FLIPS):
        path = files[number % len(files)]
        before = flip(rng, path)
        capsys.readouterr()
        code, metrics = metrics_of(whole, *words)
        error = capsys.readouterr().err
        path.write_bytes(before)
        assert code in (0, 2) and (code == 0 or error.count("\n") == 1), (path, error)
        assert code == 2 or metrics == expected, path
        refused += code == 2
    assert refused > FLIPS / 2


@pytest.mark.slow
def test_a_flipped_bit_in_raw_files_is_no_traceback(whole, capsys, tmp_path):
    files = sorted(path for path in (whole / "raw").rglob("*.txt"))
    rng = np.random.RandomState(0)
    for number in range(FLIPS):
        path = files[rng.randint(len(files))]
        before = flip(rng, path)
        words = (6, "--dataset", "KS20", "--raw", whole / "raw", "--out", tmp_path / str(number))
        assert run("preprocess", *words) in (0, 2)
        assert "Traceback" not in capsys.readouterr().err
        path.write_bytes(before)
