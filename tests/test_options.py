"""What careless command lines get: one line that says what is wrong, before any work, and nothing
lost.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import error_of, run

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import write_whole
from skeleton_reid.data import datasets
from skeleton_reid.data.layouts import locate
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.parsing import run_training

ROOT = Path(__file__).parent.parent
SCRIPTS = [
    *(path.name for path in sorted(ROOT.glob("train_*.py"))), "evaluate.py", "preprocess.py",
    "reproduce.py", "gallery.py", "data.simulate"
]  # fmt: skip
SMALL = {
    "train_simmc": ("--H", 4, "--batch_size", 8),
    "train_age": ("--hidden", 4, "--batch_size", 8, "--task", "retrieval")
}


@pytest.fixture
def data(tmp_path, write_dataset):
    """A small KS20 and IAS."""
    for number, name in enumerate(("KS20", "IAS")):
        write_dataset(tmp_path / "data", name, 6, persons=3, windows=6,
                      rng=np.random.RandomState(number))
    return tmp_path / "data"


def command(data, script="train_simmc", dataset="KS20", out="out"):
    return (script, "--dataset", dataset, "--data", data, "--out", data.parent / out, "--quiet",
            *SMALL[script])  # fmt: skip


@pytest.mark.parametrize(
    ("option", "values", "words"),
    [("--lr", ("0", "-1", "nan", "inf", "x"), "a number above 0"),
     ("--t", ("0", "-0.1", "nan"), "a number above 0"),
     ("--eps", ("0", "1", "-1", "nan"), "a number above 0 and below 1"),
     ("--lambda", ("-0.1", "1.1", "nan"), "a number from 0 to 1"),
     ("--seed", ("-1", str(2**32), "9" * 30, "0.5"), f"a whole number from 0 to {2**32 - 1}"),
     ("--H",
      ("0", "-3", "1.5", "x", "9" * 400), f"a whole number of at least 1 and at most {10**9}")])
def test_numbers_out_of_range_are_refused(data, capsys, option, values, words):
    for value in values:
        error = error_of(capsys, *command(data), f"{option}={value}")
        assert words in error and repr(value) in error
    assert not (data.parent / "out").exists()


def test_help_is_quick_and_begins_with_what_most_users_need():
    """No module that is slow to import is there when a script has answered --help."""
    code = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    try:
        run = runpy.run_path if script.endswith(".py") else runpy.run_module
        run(script, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, script
    print("slow:", *{"torch", "scipy", "sklearn", "numba", "matplotlib"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code, *SCRIPTS], cwd=ROOT, text=True, check=True,
                          stdout=subprocess.PIPE, env=os.environ | {"COLUMNS": "80"})  # fmt: skip
    *screens, rest = done.stdout.split("slow:\n")
    assert rest == "" and len(screens) == len(SCRIPTS)
    texts = [line for line in done.stdout.splitlines() if line[:1] not in ("", " ")]
    assert max(map(len, texts)) <= 80, "a paragraph does not fit the terminal"
    for script, screen in zip(SCRIPTS, screens, strict=True):
        lines = screen.splitlines()[:24]
        options = [line.split()[0].rstrip(",") for line in lines if line.startswith("  -")]
        assert len(options) >= 6, script  # with -h; more are in the groups below
        if script.startswith("train"):
            wanted = {"--dataset", "--probe", "--seed", "--mode", "--epochs", "--resume"}
            assert wanted <= {*options}


@pytest.mark.parametrize("option", ["--json", "--save_features"])
def test_a_place_where_no_file_can_be_is_refused_before_training(data, capsys, option):
    (data / "file").write_text("x")
    for place in (data, data / "file" / "x.json"):
        assert "expected a file in a folder" in error_of(capsys, *command(data), option, place)
    assert not (data.parent / "out").exists()


def test_a_changed_copy_of_a_script_runs_its_own_train(tmp_path, monkeypatch):
    (tmp_path / "train_mine.py").write_text("def train(run, options, device):\n"
                                            "    raise SystemExit(f'mine on {options.probe}')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv",
                        ["train_mine.py", "--dataset", "IAS", "--probe", "B", f"--out={tmp_path}"])
    with pytest.raises(SystemExit, match="mine on B"):
        run_training("SimMC", "")


@pytest.mark.parametrize(("script", "word"), [("reproduce", "--quick"), ("visualize", "a run"),
                                              ("benchmarks.__main__", "--quick")])  # fmt: skip
def test_an_unknown_device_is_refused_before_many_runs(tmp_path, capsys, monkeypatch, script, word):
    monkeypatch.chdir(tmp_path)
    assert "unknown device 'abacus'" in error_of(capsys, script, word, "--device", "abacus")
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize(("words", "message"), [
    (("epoch", "--data", "nowhere"), "no KGBD data of length 6: looked in nowhere/KGBD"),
    (("preprocess", "--raw", "nowhere"), "KGBD: expected raw data, found none in nowhere/KGBD"),
    (("jaccard", "--features", "nowhere"), "no feature file at nowhere; "),
    (("epoch", "--quick", "--data", "."), "--quick makes its own simulated data: leave out --data"),
    (("preprocess", "--quick", "--raw", "."), "leave out --data and --raw")
])
def test_places_that_a_benchmark_cannot_use_are_refused(tmp_path, capsys, monkeypatch, words,
                                                        message):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, "benchmarks.__main__", *words)
    assert not list(tmp_path.iterdir())


def test_the_list_names_the_table_that_needs_no_data(capsys):
    assert run("reproduce", "--list", "--tables", "sizes") == 0
    assert "to run" in (said := capsys.readouterr().out) and "sizes" in said


def test_cpu_with_a_number_is_no_device(data, capsys):
    assert "choose auto, cpu, cuda or cuda:N" in error_of(capsys, *command(data), "--device",
                                                          "cpu:3")


def test_writing_below_a_file_is_one_error(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="nothing was written"):
        write_whole(tmp_path / "file" / "x.json", lambda file: file.write(b"x"))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("script", sorted(SMALL))
def test_a_training_that_diverges_stops_and_keeps_what_was_saved(data, capsys, script):
    assert run(*command(data, script), "--epochs", 2) == 0
    folder = data.parent / "out"
    before = {path: path.read_bytes() for path in folder.rglob("*.pt")}
    error = error_of(capsys, *command(data, script), "--epochs", 4, "--lr", "1e30")
    assert "diverged" in error or "NaN" in error
    best = [path for path in before if path.name == "best.pt"]
    assert best and all(
        path.with_name("best.pt.earlier").read_bytes() == before[path] for path in best)


def test_the_log_of_an_earlier_run_is_kept(data, capsys):
    assert run(*command(data), "--epochs", 1) == 0
    log = data.parent / "out" / "KS20" / "probe" / "log.txt"
    before = log.read_text()
    error_of(capsys, *command(data), "--mask_x", 6)
    assert log.read_text().startswith(before)


def test_resuming_for_fewer_epochs_than_are_done_ends(data, capsys):
    assert run(*command(data), "--epochs", 3) == 0
    results = data.parent / "out" / "KS20" / "probe" / "results.json"
    before = json.loads(results.read_text())
    assert run(*command(data), "--epochs", 1, "--resume") == 0
    after = json.loads(results.read_text())
    assert (after["last"], after["epochs"]) == (before["last"], 3)


@pytest.mark.parametrize("script", sorted(SMALL))
def test_eval_says_the_seed_and_settings_of_the_saved_model(data, script, capsys):
    """Not what the command line leaves out; what it says otherwise is refused."""
    changed = {"train_simmc": ("--eps", 0.7), "train_age": ("--centred",)}[script]
    results = [data.parent / name for name in ("train.json", "eval.json")]
    assert (run(*command(data, script), *changed, "--seed", 3, "--epochs", 2, "--json",
                results[0]) == 0)
    assert (run(*command(data, script)[:8], "--mode", "Eval",
                *command(data, script)[12:], "--json", results[1]) == 0)
    trained, scored = (json.loads(path.read_text()) for path in results)
    assert {key: trained[key] for key in scored if key != "seconds"
            } == {key: value for key, value in scored.items() if key != "seconds"}
    assert scored["seed"] == 3
    other = {"train_simmc": ("--eps", 0.5), "train_age": ("--hidden", 5)}[script]
    error = error_of(capsys, *command(data, script), *changed, *other, "--mode", "Eval")
    name, value = other[0].strip("-"), other[1]
    assert f"was made with {name} = " in error and f"this run has {value}" in error


def test_a_state_and_other_files_are_no_checkpoints_to_evaluate(data, capsys):
    assert run(*command(data), "--epochs", 1, "--seed", 3) == 0
    folder = data.parent / "out" / "KS20" / "probe"
    evaluate = ("evaluate", "--data", data, "--dataset", "KS20", "--checkpoint")
    assert "best.pt" in error_of(capsys, *evaluate, folder / "last.pt")
    assert "not a readable checkpoint" in error_of(capsys, *evaluate, folder / "history.csv")
    # Of another data set: the joints are named, not that data set's probes.
    error = error_of(capsys, "evaluate", "--data", data, "--dataset", "IAS", "--checkpoint",
                     folder / "best.pt")
    assert "25 joints" in error and "20" in error
    assert run(*evaluate, folder / "best.pt", "--json", data / "scored.json") == 0
    assert json.loads((data / "scored.json").read_text())["seed"] == 3


def test_any_bytes_are_refused_as_a_checkpoint(tmp_path):
    rng = np.random.RandomState(0)
    path = tmp_path / "best.pt"
    checkpoint.save(path, {"method": "SimMC", "model": {"w": torch.zeros(9)}})
    whole = path.read_bytes()
    for content in (b"", b"a,b\n1,2\n", rng.bytes(300), whole[:-30], whole[:len(whole) // 2],
                    b"PK\x03\x04" * 9):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable checkpoint"):
            checkpoint.load(path)


def test_places_where_data_are_looked_for_are_named_once(tmp_path, capsys):
    said = error_of(capsys, *command(tmp_path))
    places = said.partition("looked in ")[2].partition(";")[0].split(", ")
    assert len(places) == len({*places}) > 2
    skeleton = datasets.get("KS20").skeleton.values()
    mine = datasets.restore({"dataset": "mine", "skeleton": skeleton})  # of a checkpoint
    with pytest.raises(InputError) as error:
        locate(mine, ["train"], 6, tmp_path)
    assert "--dataset mine.yaml" in str(error.value) and "simulate" not in str(error.value)


@pytest.mark.parametrize("script", [
    "evaluate", "export", "gallery", "reproduce", "train_simmc", "visualize", "benchmarks.__main__"
])  # fmt: skip
def test_every_script_takes_a_gpu_by_its_number(capsys, script):
    assert run(script, "--help") == 0
    assert "--gpu" in capsys.readouterr().out


def test_files_that_may_not_be_read_are_named(tmp_path, capsys, monkeypatch):
    file = tmp_path / "best.pt"
    file.write_bytes(b"PK")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "open", refuse)
    for words in (("--checkpoint", file, "--dataset", "KS20"), ("--probe", file, "--gallery",
                                                                file)):
        said = error_of(capsys, "evaluate", *words)
        assert f"{file} is not a readable" in said and "Permission denied" in said


def test_bad_feature_files_are_refused(tmp_path, capsys):
    good = {"features": np.ones((3, 2), np.float32), "labels": np.arange(3)}
    path = tmp_path / "f.npz"
    for changed, words in (({"labels": np.array([0.5, 1, 2])}, "whole numbers"),
                           ({"labels": np.array(["a", "b", "c"])},
                            "expected numbers"), ({"labels": np.array([0, None, 2])}, "pickled"),
                           ({"features": np.full((3, 2), np.nan)},
                            "NaN"), ({"features": np.ones((0, 2)),
                                      "labels": np.arange(0)}, "found none")):
        np.savez(path, **(good | changed))
        assert words in error_of(capsys, "evaluate", "--probe", path, "--gallery", path)
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").replace(path)
    text = tmp_path / "text.npz"
    text.write_text("no archive\n")
    for file in (path, text):
        said = error_of(capsys, "evaluate", "--probe", file, "--gallery", file)
        assert "not a readable feature file" in said and "no .npz archive" in said
    said = error_of(capsys, "evaluate", "--probe", tmp_path, "--gallery", tmp_path)
    assert f"no feature file at {tmp_path};" in said


def test_feature_files_of_other_persons(tmp_path, capsys):
    """None in common is refused; some that the gallery lacks are named."""
    files = []
    for name, labels in (("probe", [1, 2, 3]), ("gallery", [1, 1, 2]), ("others", [7, 8, 9])):
        files.append(tmp_path / f"{name}.npz")
        np.savez(files[-1], features=np.eye(3, dtype=np.float32), labels=np.array(labels))
    said = error_of(capsys, "evaluate", "--probe", files[0], "--gallery", files[2])
    assert f"expected persons of {files[0]} in {files[2]}, found none" in said
    assert run("evaluate", "--probe", files[0], "--gallery", files[1]) == 0
    assert "left out of mAP; here 1: 3" in capsys.readouterr().err


def test_a_warning_is_given_once(data, capsys):
    """Of data that are read twice: for training, and for the baselines beside it."""
    labels = data / "KS20" / "6" / "test_npy_data" / "probe" / "frame_id_KS20_6.npy"
    np.save(labels, np.where(np.load(labels) == 2, 77, np.load(labels)))
    assert run(*command(data), "--epochs", 1) == 0
    assert capsys.readouterr().err.count("probes' persons that the gallery lacks") == 1


def test_letters_that_the_terminal_does_not_know(data):
    """A name of other letters, printed and logged where all is ASCII, changes nothing but how it is
    printed.
    """
    (data.parent / "dätä").symlink_to(data)
    out, features = data.parent / "öut", data.parent / "mérkmale.npz"
    words = command(data.parent / "dätä", out=out.name)[1:]
    words = [word
             for word in words if word != "--quiet"] + ["--epochs", 1, "--save_features", features]
    plain = {
        "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"
    }
    done = subprocess.run([sys.executable, "train_simmc.py", *map(str, words)], cwd=ROOT,
                          env=os.environ | plain, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"kmale.train.npz" in done.stdout and done.stdout.isascii()
    assert (out / "KS20" / "probe" / "results.json").is_file()
    log = (out / "KS20" / "probe" / "log.txt").read_text(encoding="utf-8")
    assert "SimMC, KS20/probe" in log and f", in {data.parent}" in log  # where its files lie
    assert features.with_name("mérkmale.train.npz").is_file()


def test_data_that_no_model_can_take_are_refused_when_read(data, capsys):
    """Not after an hour of training: labels beyond exact floats, coordinates beyond float32, one
    person alone.
    """
    folder = data / "KS20" / "6"
    labels = folder / "test_npy_data" / "probe" / "frame_id_KS20_6.npy"
    heights = folder / "train_npy_data" / "source_y_KS20_6.npy"
    for path, value, words in ((labels, 1e300, "2^53"), (labels, np.inf, "2^53"), (heights, 1e300,
                                                                                   "beyond 1e+09")):
        whole = np.load(path)
        changed = whole.astype(float)
        changed.flat[0] = value
        np.save(path, changed)
        assert words in error_of(capsys, *command(data))
        np.save(path, whole)
    np.save(labels, np.load(labels).astype(complex))
    assert "complex" in error_of(capsys, *command(data))


def test_recognition_of_one_person_is_refused_before_training(tmp_path, write_dataset, capsys):
    write_dataset(tmp_path / "data", "IAS", 6, persons=1, windows=9, rng=np.random.RandomState(0))
    places = ("--data", tmp_path / "data", "--out", tmp_path / "out", "--hidden", 4, "--batch_size",
              8)
    assert "two persons" in error_of(capsys, "train_age", "--dataset", "IAS", *places, "--epochs",
                                     1)
    assert not list(tmp_path.glob("out/**/*.pt"))


def test_a_recogniser_is_not_scored_on_another_data_set(tmp_path, write_dataset, capsys):
    """Labels that are the same numbers are not the same persons."""
    for name in ("IAS", "BIWI"):
        write_dataset(tmp_path, name, 6, persons=3, windows=6, rng=np.random.RandomState(0))
    places = ("--data", tmp_path, "--out", tmp_path / "out", "--hidden", 4, "--batch_size", 8,
              "--quiet")
    assert run("train_age", "--dataset", "IAS", *places, "--epochs", 1) == 0
    saved = tmp_path / "out" / "AGE" / "IAS" / "LA" / "ap" / "best_A.pt"
    wrong = ("--dataset", "BIWI", "--data", tmp_path, "--probe", "Walking")
    assert "persons of IAS, found --dataset BIWI" in error_of(capsys, "evaluate", "--checkpoint",
                                                              saved, *wrong)
