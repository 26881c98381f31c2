"""examples/own_data from its files to metrics: what docs/09-own-data.md says to type runs."""

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import error_of, results_of, run

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_data"
SMALL = {
    "train_simmc": ("--H", 16, "--epochs", 2),
    "train_statistics": ("--H", 16, "--rounds", 1, "--round_epochs", 2),
    "train_age": ("--hidden", 8, "--epochs", 1),
    "train_smsge": ("--D_h", 4, "--P", 2, "--epochs", 1),
    "train_himpc": ("--H", 8, "--M", 2, "--epochs", 1), "train_spcmgr": ("--heads", 2, "--epochs",
                                                                         1)
}
FOLDERS = {
    "train_simmc": "{}/probe", "train_statistics": "statistics/{}/probe", "train_age": "AGE/{}/LA",
    "train_smsge": "SM-SGE/{}/IJPB", "train_himpc": "Hi-MPC/{}/probe",
    "train_spcmgr": "SPC-MGR/{}/probe"
}


@pytest.fixture(scope="module")
def walkers(tmp_path_factory) -> Path:
    """A folder with the simulated recordings, and windows of them in Datasets/."""
    folder = tmp_path_factory.mktemp("walkers")
    assert run("examples.own_data.simulate_walkers", "--out", folder) == 0
    for name in ("coco_walkers", "mediapipe_walkers"):
        shutil.copy(EXAMPLE / f"{name}.yaml", folder)
        words = ("--dataset", folder / f"{name}.yaml", "--out", folder / "Datasets")
        assert run("preprocess", 6, *words) == 0
    return folder


def words(walkers: Path, name: str) -> tuple:
    return ("--dataset", walkers / f"{name}.yaml", "--data", walkers / "Datasets", "--quiet")


@pytest.mark.parametrize(("script", "name"), [
    *zip(SMALL, ["coco_walkers", "mediapipe_walkers"] * 3, strict=True),
    ("train_simmc", "mediapipe_walkers")
])
def test_every_method_trains_and_its_checkpoint_is_evaluated(walkers, capsys, script, name):
    out = walkers / "out"
    result = results_of(script, *words(walkers, name), "--out", out, *SMALL[script])
    assert result["dataset"] == name and result["data"]["simulated"]
    printed = " ".join(capsys.readouterr().out.split())  # lines fit the terminal
    missing = "D-13 needs spine, which the skeleton coco"
    assert (missing in printed) == (name == "coco_walkers")
    assert f"{name} (simulated)" in printed or "simulated" in printed
    retrieval = result.get("retrieval", result)
    checkpoints = list((out / FOLDERS[script].format(name)).glob("**/best*.pt"))
    assert checkpoints
    for path in checkpoints:
        scored = results_of("evaluate", "--checkpoint", path, "--data", walkers / "Datasets")
        if scored["kind"] == "retrieval" and script != "train_simmc":
            assert scored["top1"] == retrieval["top1"]


def test_what_was_lost_stands_beside_the_windows(walkers):
    for name in ("coco_walkers", "mediapipe_walkers"):
        note = json.loads((walkers / "Datasets" / name / "6" / "split.json").read_text())
        rows = note["recordings"].values()
        assert note["simulated"] and len(rows) == 48
        assert sum(row.get("repaired", 0) for row in rows) > 20
        assert sum(row.get("dropped", 0) for row in rows) > 20


def test_baselines_and_recognition(walkers):
    chance = 1 / 12
    result = results_of("evaluate", "--features", "D-16", *words(walkers, "mediapipe_walkers"))
    assert result["top1"] > 2 * chance
    result = results_of("evaluate", "--recognise", "LSTM", "--epochs", 1,
                        *words(walkers, "coco_walkers"))
    assert result["kind"] == "recognition"


def test_eight_are_recognised_and_four_are_nobody(walkers, capsys):
    """Enrolled by one recording each, with a threshold calibrated on the others of the gallery."""
    where, out = words(walkers, "coco_walkers")[:-1], walkers / "people"
    run("train_statistics", *where, "--out", out, "--tracklets", "--quiet")
    people = walkers / "people.gallery"
    model = out / "statistics-tracklets" / "coco_walkers" / "probe" / "best.pt"
    first = ("--checkpoint", model, "--persons", 8, "--recordings", 1)
    assert run("gallery", "add", people, *where, *first) == 0
    assert run("gallery", "calibrate", people, *where, "--far", 0.2) == 0
    capsys.readouterr()
    assert run("gallery", "identify", people, *where) == 0
    printed = " ".join(capsys.readouterr().out.split())  # lines fit the terminal
    enrolled, others = re.findall(
        r"(\d+) recordings: identified ([\d.]+)%, misnamed ([\d.]+)%, rejected ([\d.]+)%", printed)
    assert int(enrolled[0]) == 8 and float(enrolled[1]) >= 75 and float(enrolled[2]) == 0
    assert int(others[0]) == 4 and float(others[3]) >= 75
    assert printed.count(": nobody; nearest") >= 3
    # The same recordings, from their own files: a fifth walk of nobody's needs no preprocessing.
    dataset = ("--dataset", walkers / "coco_walkers.yaml")
    files = [walkers / "coco" / f"person{number:02d}" / "walk1.csv" for number in (0, 11)]
    assert run("gallery", "identify", people, *files, *dataset) == 0
    first, last = capsys.readouterr().out.replace("\n  ", " ").splitlines()
    assert "; nearest person00 " in first and ": nobody; " in last
    files[0].write_text(files[0].read_text().split("\n", 4)[0])
    assert "expected" in error_of(capsys, "gallery", "identify", people, files[0], *dataset)
    assert "FILE.yaml that describes them" in error_of(capsys, "gallery", "identify", people,
                                                       files[1], "--dataset", "KS20")
