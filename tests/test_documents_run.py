"""Every command of README and docs runs, in the order of the pages, with tiny networks on tiny
simulated data: `RAW`, `FILE.npz`, `anna/*.npy` and so on are there under these names.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import run
from test_documents import DOCUMENTS, ROOT, commands

SMALL = {
    "train_simmc.py": "--H 16 --epochs 1 --eps 0.9 --batch_size 32",
    "train_posegait.py": "--epochs 1", "train_df.py": "--epochs 1 --batch_size 32",
    "train_himpc.py": "--H 8 --M 2 --epochs 1", "train_spcmgr.py": "--heads 2 --epochs 1",
    "train_transg.py": "--H 8 --n_heads 2 --epochs 1 --batch_size 32",
    "train_mocos.py": "--H 12 --n_heads 6 --epochs 1 --batch_size 32",
    "train_mgscr.py": "--D_h 8 --pre_epochs 1 --recognition_epochs 1",
    "train_sgela.py": "--hidden 8 --pre_epochs 1 --recognition_epochs 1",
    "train_statistics.py": "--H 16 --rounds 1 --round_epochs 1",
    "train_age.py": "--hidden 8 --pre_epochs 1 --recognition_epochs 1 --batch_size 32",
    "train_smsge.py": "--D_h 4 --P 2 --pre_epochs 1 --recognition_epochs 1 --batch_size 32",
    "examples.own_data.simulate_walkers": "--out examples/own_data", "LSTM": "--epochs 1",
    "gallery.py calibrate": "--far 0.9", "data.simulate": "--persons 6"
}
# The authors' files, which are not passed on (tests/test_tf_checkpoint.py has ones of their kind);
# what `make` runs; published settings for hours.
ELSEWHERE = ("RN/", "Models/AGEs", "best.ckpt", "-m pytest", "-m benchmarks", "kgbd-statistics",
             "reproduce.py --quick")
LISTED = ("reproduce.py", "reproduce.py --tables")
RAW = {
    "BIWI": (4, 40, 1), "IAS": (4, 40, 1), "KGBD": (6, 40, 4), "KS20": (4, 30, 5),
    "CASIA_B": (3, 70, 1)
}
# What a command reads that another one makes comes after it.
LATE = ("--mode Eval", "--source", "--encoder", "evaluate.py", "visualize.py", "compare.py",
        "gallery.py", "export.py")


def of_documents() -> list[str]:
    """The command lines that begin with python, each once; README's after those of the docs."""
    found = [
        " ".join(words[1:]) for path in (*DOCUMENTS[2:], *DOCUMENTS[:2])
        for words in commands(path.read_text()) if words[0] == "python"
    ]
    lines = dict.fromkeys(found)
    return sorted((line for line in lines if not any(word in line for word in ELSEWHERE)), key=late)


def late(line: str) -> int:
    """0: makes data, 1: trains, 2: reads what others made, 3: pictures and galleries."""
    if line.startswith(("-m", "preprocess.py")):
        return 0
    if line.startswith(LATE[-4:]):
        return 3
    return 2 if any(word in line for word in LATE) else 1


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with what the pages take for granted, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", "examples",
                    ignore=shutil.ignore_patterns("coco", "mediapipe"))
    for name, (persons, frames, recordings) in RAW.items():
        sizes = ("--persons", persons, "--frames", frames, "--recordings", recordings)
        assert run("data.simulate", "--dataset", name, "--raw", "RAW", *sizes) == 0
    frames = np.random.RandomState(0).normal(size=(4, 3, 20, 25, 3)).astype(np.float32)
    frames[1] = frames[0] + 0.1 * frames[1]  # anna again
    for number, person in enumerate(("anna", "labelled/anna", "labelled/ben", "labelled/cleo")):
        folder = Path(person)
        folder.mkdir(parents=True)
        for recording, own in enumerate(frames[number]):
            np.save(folder / f"{recording}.npy", own)
    described = Path("examples/own_data/coco_walkers.yaml").read_text()
    Path("my_data.yaml").write_text(described.replace("folder: ", "folder: examples/own_data/"))
    for name in ("new", "someone", "walk"):
        np.save(f"{name}.npy", frames[0, 0])
    return tmp_path


def make_inputs() -> None:
    """What pages name that no command of theirs makes."""
    for line in ("train_simmc.py --dataset IAS --probe A --save_features FILE.npz",
                 "train_statistics.py --dataset KS20",
                 "train_age.py --dataset BIWI --attention MBA",
                 "train_age.py --dataset BIWI --attention none"):
        script, *words = f"{line} {SMALL[line.split()[0]]}".split()
        assert run(script.removesuffix(".py"), *words) == 0
    for number in range(3):
        shutil.copytree("ReID_Models/KS20", f"out{number}/KS20")
    shutil.copytree("Datasets/KS20", ".demo/Datasets/KS20")
    shutil.copytree("ReID_Models/statistics", ".demo/ReID_Models/statistics")


def matching(word: str) -> list[str]:
    """The files that a word with * names, as a shell does; or the word."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # hundreds of commands
def test_commands_run(place, capfd):
    assert run("preprocess", "all", "--raw", "RAW") == 0
    refused = {}
    for number in range(4):
        if number == 2:
            make_inputs()
        for line in (line for line in of_documents() if late(line) == number):
            words = [name for word in line.split() for name in matching(word)]
            script = words.pop(0)
            script = words.pop(0) if script == "-m" else script
            words += next((more.split() for name, more in SMALL.items() if name in line), [])
            words += ["--list"] * line.startswith(LISTED)
            capfd.readouterr()
            if run(script.removesuffix(".py"), *words):
                refused[line] = capfd.readouterr().err.strip().rpartition("\n")[2]
    assert not refused, "\n".join(f"{line}: {error}" for line, error in refused.items())
