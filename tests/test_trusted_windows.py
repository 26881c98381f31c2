"""Windows say what they were made from, and what was odd in it; others are refused."""

import json
import re
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from commands import error_of
from commands import run as command
from raw_data import read_split, refused, run

from skeleton_reid import data
from skeleton_reid.common.files import hold
from skeleton_reid.data.plausible import doubts
from skeleton_reid.data.skeleton import read

DATA = {"skeleton": "coco", "recordings": "{person}/{recording}.npy", "format": "npy", "unit": "m"}
DATA |= {"up": "y"}
PERSONS = ("anna", "bert", "Jörg")


def walk(person: int, recording: int, frames: int = 30) -> np.ndarray:
    """(frames, 17, 3), metres, y up."""
    body, noise = np.random.RandomState(person), np.random.RandomState(100 * person + recording + 9)
    pose = body.normal(0, 0.1, (17, 3)) + np.linspace([0, 1.7, 3], [0, 0, 3], 17)
    swing = np.sin(0.3 * np.arange(frames))[:, None, None] * body.normal(0, 0.05, (17, 3))
    return pose + swing + noise.normal(0, 0.005, (frames, 17, 3))


def describe(folder, **changes):
    """The YAML file of recordings in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(DATA | changes))
    return file


def write_walks(folder, change=lambda frames: frames):
    for person, name in enumerate(PERSONS):
        for number in range(3):
            path = folder / name / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, change(walk(person, number)))


@pytest.fixture
def made(tmp_path):
    """The description of walks whose windows lie in out/."""
    write_walks(tmp_path / "a")
    file = describe(tmp_path / "a")
    run(6, "--dataset", file, "--out", tmp_path / "out")
    return file


def mean_pose(file, folder):
    return "evaluate", "--features", "mean-pose", "--dataset", file, "--data", folder


@pytest.mark.parametrize(("changes", "message"), [
    ({"skeleton": "h36m"}, "windows made with skeleton h36m, found coco"),
    ({"unit": "cm"}, "unit cm, found m"), ({"up": "-y"}, "up -y, found y"),
    ({"recordings": "{person}/*.npy"}, "recordings {person}/*.npy, found {person}/{recording}.npy"),
    ({"longest_gap": 2}, "longest_gap 2, found the default")
])
def test_windows_of_another_description(made, tmp_path, capsys, changes, message):
    describe(tmp_path / "a", **changes)
    for script in (mean_pose(made, tmp_path / "out"), ("train_simmc", "--dataset", made, "--data",
                                                       tmp_path / "out", "--epochs", 1)):
        said = error_of(capsys, *script)
        assert "split.json: expected " in said and f"{message}; run preprocess.py again" in said
    run(6, "--dataset", describe(tmp_path / "a"), "--out", tmp_path / "out")
    assert command(*mean_pose(made, tmp_path / "out")) == 0


def test_a_model_that_was_trained_on_windows_in_another_unit(made, tmp_path, capsys):
    words = "--data", tmp_path / "out", "--out", tmp_path / "runs", "--quiet", "--device", "cpu"
    train = "train_statistics", "--dataset", made, *words
    assert command(*train, "--epochs", 1, "--round_epochs", 1, "--rounds", 2, "--labels") == 0
    best = tmp_path / "runs" / "statistics-labels" / "mine" / "probe" / "best.pt"
    evaluate = "evaluate", "--checkpoint", best, "--data", tmp_path / "out"
    assert command(*evaluate) == 0
    run(6, "--dataset", describe(tmp_path / "a", unit="cm"), "--out", tmp_path / "out")
    options = "--labels", "--round_epochs", 1, "--rounds", 2
    for said in (error_of(capsys, *evaluate), error_of(capsys, *train, *options, "--mode", "Eval"),
                 error_of(capsys, *train, *options, "--resume")):
        assert "was trained on windows with unit m, these have cm: run preprocess.py again" in said


def test_joints_in_another_order(made, tmp_path, capsys):
    values = yaml.safe_load(
        (data.datasets.Path(data.__file__).parent / "skeletons/coco.yaml").read_text())
    own = tmp_path / "a" / "own.yaml"
    own.write_text(yaml.safe_dump(values))
    file = describe(tmp_path / "a", skeleton="own.yaml")
    run(6, "--dataset", file, "--out", tmp_path / "out")
    own.write_text(yaml.safe_dump(values | {"pairs": []}))  # no window depends on them
    data.skeleton.read.cache_clear()
    assert command(*mean_pose(file, tmp_path / "out")) == 0
    own.write_text(yaml.safe_dump(values | {"joints": values["joints"][::-1]}))
    data.skeleton.read.cache_clear()
    assert "made with joints ['right_ankle'" in error_of(capsys, *mean_pose(file, tmp_path / "out"))


def test_two_descriptions_of_one_name_do_not_share_a_folder(made, tmp_path, capsys):
    write_walks(tmp_path / "b", lambda frames: frames + 1)
    other, out = describe(tmp_path / "b"), tmp_path / "out"
    before = read_split(out / "mine" / "6")
    for said in (refused(capsys, 6, "--dataset", other, "--out",
                         out), error_of(capsys, *mean_pose(other, out))):
        assert f"found those of {made}, which has the same name; give one of them" in said
    assert read_split(out / "mine" / "6") == before
    run(6, "--dataset", describe(tmp_path / "b", name="other"), "--out", out)
    assert command(*mean_pose(other, out)) == 0
    for folder in ("a", "out"):  # copied together, then the first ones are gone
        shutil.copytree(tmp_path / folder, tmp_path / "copy" / folder)
    assert command(*mean_pose(tmp_path / "copy" / "a" / "mine.yaml", tmp_path / "copy"
                              / "out")) == 0
    shutil.move(tmp_path / "a", tmp_path / "moved")
    assert command(*mean_pose(tmp_path / "moved" / "mine.yaml", out)) == 0


def test_one_process_at_a_time_writes_a_folder(made, tmp_path, capsys):
    folder = tmp_path / "out" / "mine" / "6"
    assert not list(folder.glob(".*"))
    lock = hold(folder / ".preprocess.lock")
    said = refused(capsys, 6, "--dataset", made, "--out", tmp_path / "out")
    assert "another process is at work" in said
    lock.release()
    run(6, "--dataset", made, "--out", tmp_path / "out")


def test_names_of_persons_are_kept(made, tmp_path):
    folder = tmp_path / "out" / "mine" / "6"
    assert read_split(folder)["persons"] == dict(zip("012", sorted(PERSONS), strict=True))
    names = data.load(made, "probe", 6, tmp_path / "out").names
    assert names == dict(enumerate(sorted(PERSONS)))


@pytest.mark.parametrize("content", [{"simulated": False, "description": [1]}, {"simulated": "no"},
                                     {"simulated": False, "persons": {"anna": 0}}])
def test_a_damaged_note(made, tmp_path, capsys, content):
    file = tmp_path / "out" / "mine" / "6" / "split.json"
    file.write_text(json.dumps(content))
    assert "what preprocess.py writes" in error_of(capsys, *mean_pose(made, tmp_path / "out"))
    run(6, "--dataset", made, "--out", tmp_path / "out")
    assert command(*mean_pose(made, tmp_path / "out")) == 0


@pytest.mark.parametrize("content", ['{"../../split.json": 3}', '{"a/b.npy": 1, "none.npy": 2}'])
def test_checksums_of_files_in_other_folders(made, tmp_path, content):
    sums = tmp_path / "out" / "mine" / "6" / "test_npy_data" / "probe" / "checksums.json"
    sums.write_text(content)
    assert command(*mean_pose(made, tmp_path / "out")) == (2 if ".." in content else 0)


def _with(value: float, joint: int, every: bool = False) -> Callable:
    """A change: a joint lies at the value for some frames, or another one's frames lie between."""
    def change(frames: np.ndarray) -> np.ndarray:
        frames = frames + np.array([0, 0, 3])
        if every:
            frames[::2] += [1.2, 0, 0]
        else:
            frames[3:9, joint] = value
        return frames

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda frames: frames * 1000, "9 of 9 recordings look wrong: people of 1,"),
     (lambda frames: frames / 1000, "recordings look wrong: people of 0.001"),
     (lambda frames: frames * [1, -1, 1],
      "heads are not above feet (Jörg/0.npy); are `up` and `skeleton` right?"),
     (lambda frames: frames[..., [0, 2, 1]], "heads are not above feet"),
     (_with(0, 9), "left_wrist moves"), (_with(-9.999, 9), "steps that nobody takes"),
     (_with(0, 9, every=True), "9 of 9 recordings look wrong: steps"),
     (lambda frames: frames[:1].repeat(30, axis=0), "nothing moves"),
     (lambda frames: frames * 0 + 1, "all joints are at one point")])
def test_what_looks_wrong(tmp_path, caplog, change, message):
    write_walks(tmp_path / "a", change)
    run(6, "--dataset", describe(tmp_path / "a"), "--out", tmp_path / "out")
    assert message in caplog.text


def test_what_is_believed_of_people(tmp_path, capsys, caplog):
    """Of walkers who move 0.05 m a frame, at times of 25 frames a second, or of 200."""
    for recording, step in (("1", 40), ("2", 40), ("3", 40)):
        frames = walk(0, int(recording)) + 0.05 * np.arange(30)[:, None, None] * [1, 0, 0]
        lines = [",".join(map(str, [step * t, *frames[t].ravel()])) for t in range(30)]
        names = [f"{joint}_{axis}" for joint in read("coco").joints for axis in "xyz"]
        path = tmp_path / "a" / "anna" / f"{recording}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([",".join(["timestamp", *names]), *lines]))
    for _, speed in ((25, "1.2"), (200, "9.9")):
        file = describe(tmp_path / "a", format="csv", recordings="{person}/*.csv")
        run(6, "--dataset", file, "--out", tmp_path / "out")
        said = capsys.readouterr().out
        assert re.search(rf"height 1.*, \w+ above left foot .* walking {speed}", said), said
        for path in (tmp_path / "a" / "anna").iterdir():
            lines = [line.split(",", 1) for line in path.read_text().splitlines()]
            rest = [f"{float(time) / 8},{values}" for time, values in lines[1:]]
            path.write_text("\n".join([",".join(lines[0]), *rest]))
    assert "people walk 9.9 m/s at 200 frames a second (anna/1.csv); are the times" in caplog.text


def test_nothing_looks_wrong_in_walks():
    frames = walk(0, 0)
    frames[3] = np.nan
    frames -= frames[:, 6:7]  # the origin
    frames[0, 5] = 0
    assert doubts(frames, read("coco")) == {}
    frames[[7, 9], 8] = 0
    said = {"zeros_are_lost": "right_elbow is at 0, 0, 0 in 2 of 29 frames"}
    assert doubts(frames, read("coco")) == said


def test_coordinates_that_training_would_refuse(tmp_path, capsys):
    write_walks(tmp_path / "a", lambda frames: frames * 1e12)
    said = refused(capsys, 6, "--dataset", describe(tmp_path / "a"), "--out", tmp_path / "out")
    assert "Jörg/0.npy: expected coordinates below 1e+09, found " in said


def test_one_recording_under_several_names(tmp_path, caplog):
    write_walks(tmp_path / "a")
    for name in ("bert/7", "bert/8", "Jörg/7", "Jörg/8"):
        shutil.copy(tmp_path / "a" / "anna" / "0.npy", tmp_path / "a" / f"{name}.npy")
    run(6, "--dataset", describe(tmp_path / "a"), "--out", tmp_path / "out")
    assert "anna/0.npy (" in caplog.text and " and 1 pairs more are identical; all" in caplog.text
