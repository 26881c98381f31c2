"""What a run tells of itself besides its results: run.json and TensorBoard's events; and that a run
that is refused tells nothing.
"""

import json
import platform
import random
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from training import SCRIPTS

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.engine import history, loop
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.run import Run, code_version, execute
from skeleton_reid.pictures.runs import find

RUNS = {
    "SimMC": ("", ("--epochs", 3)), "AGE": ("recogniser", ("--epochs", 2)),
    "SM-SGE": ("encoder", ("--epochs", 2)), "statistics": ("", ("--epochs", 3)),
}  # fmt: skip


@pytest.mark.parametrize("method", RUNS)
def test_tensorboard_has_every_metric_of_the_history(method, training):
    phase, words = RUNS[method]
    train = training(method)
    train(*words, "--tensorboard")
    events = EventAccumulator(str(train.path(phase, "tensorboard")),
                              {"scalars": 0, "histograms": 0}).Reload()
    curves = {
        tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]
    }
    for row in train.history(phase):
        for name, text in row.items():
            if name == "epoch" or text == "":
                continue
            own = [curve for tag, curve in curves.items() if tag.partition("/")[2] == name]
            assert len(own) == 1, name
            assert own[0][int(row["epoch"])] == pytest.approx(float(text), rel=1e-6, nan_ok=True)
    assert any(tag.startswith("seconds/") for tag in curves)
    rates = [curve for tag, curve in curves.items() if tag.startswith("rates/")]
    assert rates and all(0 < rate <= 0.01 for curve in rates for rate in curve.values())
    if method == "SimMC":
        for row in train.history():
            for number in "12" if row["clusters_1"] else "":
                histogram = next(e.histogram_value
                                 for e in events.Histograms(f"cluster_sizes/{number}")
                                 if e.step == int(row["epoch"]))
                assert histogram.num == int(row[f"clusters_{number}"])


@pytest.mark.parametrize(("method", "wanted"), [("SimMC", "file"), ("TranSG", "later")])
def test_released_runs_on_another_joint_order_warn(method, wanted, training, write_dataset, caplog):
    train = training(method)
    write_dataset(train.data, "KGBD", 6, 3, 16, np.random.RandomState(0))
    note = next(train.data.glob("KGBD/6")) / "split.json"
    for order in (wanted, "kinect"):
        note.write_text(json.dumps({"simulated": False, "joint_order": order}))
        caplog.clear()
        train("--protocol", "released", "--epochs", 1, dataset="KGBD")
        said = f"joint order of the released code, {wanted}, found kinect" in caplog.text
        assert said == (order != wanted)


def test_a_resumed_run_goes_on_with_its_events(training, monkeypatch):
    closed, close = [], SummaryWriter.close
    monkeypatch.setattr(SummaryWriter, "close", lambda x: (closed.append(x), close(x)))
    train = training("SimMC")
    train("--epochs", 2, "--tensorboard")
    assert len(closed) == 1
    train("--epochs", 4, "--tensorboard", "--resume")
    events = EventAccumulator(str(train.path("tensorboard"))).Reload()
    assert [e.step for e in events.Scalars("metrics/top1")] == [0, 1, 2, 3, 4]
    train("--epochs", 1, "--tensorboard")  # anew
    events = EventAccumulator(str(train.path("tensorboard"))).Reload()
    assert [e.step for e in events.Scalars("metrics/top1")] == [0, 1]


def test_missing_tensorboard_is_named_before_any_work(training, capsys, monkeypatch):
    train = training("SimMC")
    monkeypatch.setattr("skeleton_reid.engine.parsing.find_spec", lambda name: None)
    assert "pip install tensorboard" in train.error(capsys, "--tensorboard")
    assert not train.out.exists()


def test_run_json_says_how_to_make_the_run_again(training):
    train = training("SimMC")
    train("--epochs", 1, "--seed", 3)
    record = json.loads(train.path("run.json").read_text())
    assert record["command"].startswith("train_simmc.py --dataset KS20 ")
    assert "--epochs 1 --seed 3" in record["command"]
    device = str(pick_device("auto"))
    assert (record["method"], record["seed"], record["device"]) == ("SimMC", 3, device)
    assert record["settings"]["H"] == 16 and record["settings"]["t"] == 0.08
    versions = platform.python_version(), torch.__version__, np.__version__
    assert (record["python"], record["torch"], record["numpy"]) == versions
    revision = record.get("revision")  # not there outside a checkout
    assert revision is None or len(revision.removesuffix("-dirty")) == 40
    assert (record["epoch_limit"], record["name"]) == (1, None) and record["date"][:2] == "20"


@pytest.mark.parametrize(("method", "words"), [
    *((method, ("--resume",)) for method in SCRIPTS if method != "DF"),
    ("SM-SGE", ("--pre_train", 0))
])
def test_a_run_that_is_refused_leaves_nothing(method, words, training, capsys):
    train = training(method)
    assert "no checkpoint at" in train.error(capsys, *words)
    assert not train.out.exists()


@pytest.mark.parametrize("limit", [(), ("--epochs", 3)])
def test_the_time_left_is_until_nothing_better_ends_the_run(training, monkeypatch, limit):
    class Bar(loop.tqdm):
        def update(self, n: int) -> None:
            ends.append(self.total)

    ends = []
    monkeypatch.setattr(loop, "tqdm", Bar)
    train, waited, best = training("SimMC"), 0, -1.0
    train("--patience", 2, *limit)
    for epoch, row in enumerate(train.history()):
        if epoch > 0:  # the untrained model does not count
            waited = 0 if float(row["top1"]) > best else waited + 1
            best = max(best, float(row["top1"]))
        assert ends[epoch] == min(epoch + 2 - waited, limit[1] if limit else 1000)
    assert len(ends) == epoch + 1 and (waited == 2 or limit)


def test_seeds_run_one_after_the_other(training, capsys):
    """The first in the folder itself, the others below it, as if each were alone."""
    train = training("SimMC")
    words = ("--epochs", 1, "--seeds", "0,2", "--name", "mine", "--json", train.out / "own.json")
    assert run(train.script.name, *train.words(*words)) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(f"python compare.py {train.path()}")
    for seed, folder in ((0, ""), (2, "seed-2")):
        result = json.loads(train.path(folder, "results.json").read_text())
        record = json.loads(train.path(folder, "run.json").read_text())
        assert (result["seed"], result["name"], record["name"]) == (seed, "mine", "mine")
        assert json.loads((train.out / f"own-seed-{seed}.json").read_text()) == result
    assert result["best"] == train("--epochs", 1, "--seed", 2, "--out", train.out / "alone")["best"]
    assert "found both" in train.error(capsys, "--seeds", 3, "--seed", 1)
    assert "as 0,4,7, found '0,x'" in train.error(capsys, "--seeds", "0,x")
    for wrong in ("x", "0", "1,1", "1,", ""):
        said = f"expected how many seeds, as 3, or different ones, as 0,4,7, found '{wrong}'"
        assert said in train.error(capsys, f"--seeds={wrong}")
    assert "expected letters that can be seen, found ' '" in train.error(capsys, "--name", " ")


def test_a_loop_over_seeds_keeps_all_runs(training, capsys):
    train = training("SimMC")
    results = {seed: train("--epochs", 1, "--seed", seed) for seed in (1, 0)}
    assert "earlier" not in capsys.readouterr().out
    for seed, folder in ((1, ""), (0, "seed-0")):
        stored = json.loads(train.path(folder, "results.json").read_text())
        assert stored["best"] == results[seed]["best"]
        words = ("--epochs", 2, "--seed", seed, "--resume")
        assert train(*words)["epochs"] == 2
        assert len(train.history(folder)) == 3
    for words, seed in (((), 0), (("--seed", 1), 1), (("--seed", 7), 1)):
        assert train("--mode", "Eval", *words)["seed"] == seed
    found = [saved.content["seed"] for saved in find([train.path()])]
    assert found == [1, 0] and set(find([train.path()])[0].histories) == {""}


def test_several_seeds_go_on_with_those_that_have_begun(training):
    train = training("SimMC")
    train("--epochs", 1)
    words = train.words("--epochs", 2, "--seeds", 2, "--resume")
    assert run(train.script.name, *words) == 0
    for folder in ("", "seed-1"):
        assert len(train.history(folder)) == 3
    assert not list(train.out.rglob("*.earlier"))


def test_a_displaced_run_is_told_whether_or_not_quiet(training, capsys):
    train = training("SimMC")
    for words in ((), ("--t", 0.1)):
        train("--epochs", 1, *words)
    said = capsys.readouterr().out.replace("\n  ", " ")
    assert f"{train.path()}: the files of an earlier run are now named *.earlier" in said


def test_a_run_that_is_displaced_twice_is_kept(training):
    train = training("SimMC")
    kept = []
    for t in (0.1, 0.2, 0.3):
        train("--epochs", 1, "--t", t)
        kept.append({file: train.path(file).read_bytes() for file in ("run.json", "best.pt")})
    for name, files in zip(("earlier", "earlier-2"), kept, strict=False):
        for file, content in files.items():
            assert train.path(f"{file}.{name}").read_bytes() == content, (file, name)


def test_resuming_with_other_code_is_said(training, monkeypatch, capsys):
    train = training("SimMC")
    for number, version in enumerate(("a", "b", "b"), 1):
        monkeypatch.setattr("skeleton_reid.engine.run.code_version",
                            lambda root, version=version: {"revision": version})
        capsys.readouterr()
        train("--epochs", number, *["--resume"][:number - 1])
        assert ("other code" in capsys.readouterr().out) == (number == 2)
    record = json.loads(train.path("run.json").read_text())
    assert (record["revision"], record["begun_with"]) == ("b", {"revision": "a"})


def test_the_version_of_the_code_counts_files_that_git_does_not_know(tmp_path):
    assert code_version(tmp_path) == {}
    (tmp_path / "train.py").write_text("a = 1\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = code_version(tmp_path)
    assert set(clean) == {"revision"}
    (tmp_path / "mine.py").write_text("a = 2\n")
    first = code_version(tmp_path)
    (tmp_path / "mine.py").write_text("a = 3\n")
    assert first["revision"] == clean["revision"]
    assert len({own.get("changes") for own in (clean, first, code_version(tmp_path))}) == 3


def test_a_layer_that_a_user_adds_is_repeatable(tmp_path):
    """The random state of PyTorch, NumPy and Python is the seed's, for every seed."""
    drawn = []

    def train(*_) -> None:
        drawn.append((torch.rand(2).tolist(), np.random.rand(), random.random()))

    options = TrainingOptions(quiet=True, device="cpu", out=tmp_path)
    for seeds in ((3, 4), (3,)):
        execute(Run("SimMC", replace(options, seeds=seeds), tmp_path), train, train, train)
    assert drawn[0] == drawn[2] != drawn[1]


def test_clusters_of_any_integer_type_and_a_collapse(training, capsys, monkeypatch):
    train = training("SimMC")
    monkeypatch.setattr("skeleton_reid.engine.clusters.cluster",
                        lambda features, *_, **__: np.zeros(len(features), np.int32))
    warning = train("--epochs", 6)["warning"]
    assert warning.startswith(
        "learning may have collapsed: 1 cluster for 8 persons; try another --eps (--search_eps)")
    assert warning in capsys.readouterr().out.replace("\n  ", " ")


def test_clusters_may_leave_numbers_out(training, monkeypatch):
    """The same metrics as without gaps; -2 is noise, too."""
    def clusters(step: int, noise: int):
        def cluster(features, *_, **__) -> np.ndarray:
            labels = np.arange(len(features)) % 9
            return np.where(labels == 8, noise, step * labels + step - 1)

        return cluster

    train, results = training("SimMC"), []
    for step, noise in ((1, -1), (5, -2)):
        monkeypatch.setattr("skeleton_reid.engine.clusters.cluster", clusters(step, noise))
        results.append(train("--epochs", 2)["best"])
    assert results[0] == results[1]


@pytest.mark.parametrize("labels", [-1, 7])
def test_labels_that_a_script_makes_by_itself(training, capsys, monkeypatch, labels):
    """All noise is said; of numbers that nothing has the loss is finite."""
    monkeypatch.setattr("skeleton_reid.engine.loop.Epochs.cluster",
                        lambda self, views, *_, **__: torch.full((2, len(views[0])), labels))
    train = training("SimMC")
    if labels < 0:
        said = train.error(capsys, "--epochs", 2)
        assert "nothing was trained: no clusters: all windows are noise; try another --eps" in said
    else:
        assert train("--epochs", 2)["epochs"] == 2


def test_a_collapse_is_told_once_in_a_run_that_is_resumed(training, capsys, monkeypatch):
    train = training("SimMC")
    monkeypatch.setattr("skeleton_reid.engine.clusters.cluster",
                        lambda features, *_, **__: np.zeros(len(features), int))
    for limit in (6, 7, 8):
        warning = train("--epochs", limit, *["--resume"][:limit - 6])["warning"]
        assert warning.startswith("learning may have collapsed")
    assert capsys.readouterr().out.count("learning may have collapsed") == 1


ROW = {"top1": 0.5, "clusters_1": 9, "largest_1": 9, "purity_1": 0.9}


@pytest.mark.parametrize(
    ("change", "said"),
    [({}, None), ({"clusters_1": 4}, "4 clusters for 10 persons"),
     ({"largest_1": 91}, "one cluster holds nearly all windows"),
     ({"purity_1": 0.1}, "the purity of the clusters is at chance"),
     ({"top1": 0.3}, "top-1 is 30.0%, below the untrained model's 40.0%")])  # fmt: skip
def test_a_collapse_is_what_the_last_five_epochs_show(change, said):
    persons = np.arange(100) % 10
    untrained, bad = {**ROW, "top1": 0.4}, ROW | change
    found = history.collapse([untrained, ROW, *[bad] * 5], persons)
    assert history.collapse([untrained, *[bad] * 4], persons) is None
    assert (said is None and found is None) or said in found
    assert history.collapse([untrained, *[bad] * 5, ROW], persons) is None


def test_search_eps_names_the_largest_eps_with_no_large_cluster(training, capsys, monkeypatch):
    """It displaces no run. 100 windows; above 0.7 a fifth of them and more are one cluster."""
    train = training("SimMC")
    train("--epochs", 1)
    before = train.path("results.json").read_bytes()
    asked = []

    def clusters(features, eps, min_samples, **_) -> np.ndarray:
        asked.append((eps, min_samples))
        labels = np.arange(len(features)) // 2
        return np.where(labels < len(features) * (eps - 0.6), 0, labels) if eps > 0.75 else labels

    monkeypatch.setattr("skeleton_reid.engine.clusters.cluster", clusters)
    capsys.readouterr()
    assert run(train.script.name, *train.words("--search_eps", "--min_samples", 3)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["eps", "clusters", "noise", "largest", "cluster"]
    assert [line.split()[0]
            for line in lines[1:8]] == ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]
    assert lines[-1].startswith("try --eps 0.7: ")
    assert asked == [(eps, 3) for eps in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    assert train.path("results.json").read_bytes() == before
    assert not list(train.out.rglob("*.earlier"))
