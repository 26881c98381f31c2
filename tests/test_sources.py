"""SimMC on the frame features of other models, as a user runs it, on small random data sets."""

import json

import numpy as np
import pytest
import torch
from commands import error_of, results_of, run, score_files
from training import RETRIEVAL, pick, without_time

from skeleton_reid import data
from skeleton_reid.engine import checkpoint, clusters, features, retrieval
from skeleton_reid.engine.encoding import encode_set
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.pictures.runs import SavedRun

AGE = ("--task", "retrieval", "--hidden", 4, "--pre_epochs", 1, "--batch_size", 20, "--quiet")
SMSGE = ("--task", "retrieval", "--D_h", 4, "--P", 2, "--pre_epochs", 1, "--batch_size", 20,
         "--quiet")
SIMMC = ("--H", 16, "--batch_size", 20, "--quiet")


@pytest.fixture
def ias(tmp_path, write_dataset):
    """The arguments of a run on a data set of 5 persons, 8 windows of 6 frames each in every
    split.
    """
    write_dataset(tmp_path / "data", "IAS", 6, 5, 8, np.random.RandomState(0), noise=1.5)
    return ["--dataset", "IAS", "--data", tmp_path / "data", "--out", tmp_path / "out"]


@pytest.fixture
def encoder(ias, tmp_path):
    """encoder("AGE", *arguments): train it for the retrieval tables, with feature files AGE.npz;
    its results.
    """
    def call(method, *arguments):
        script, small = {"AGE": ("train_age", AGE), "SM-SGE": ("train_smsge", SMSGE)}[method]
        return results_of(script, *ias, *small, "--save_features", tmp_path / f"{method}.npz",
                          *arguments)

    return call


@pytest.fixture
def train(ias):
    """train(source, *arguments): run train_simmc.py on it and return its results."""
    def call(source, *arguments):
        return results_of("train_simmc", *ias, *SIMMC, "--source", source, "--epochs", 2,
                          *arguments)

    return call


@pytest.fixture
def evaluate(ias):
    """evaluate(checkpoint, *arguments): evaluate.py on it; its results."""
    def call(path, *arguments):
        return results_of("evaluate", "--checkpoint", path, *ias[:4], "--quiet", *arguments)

    return call


@pytest.mark.parametrize("name", ["AGE", "SM-SGE", "SM-SGE-states"])
def test_results_files_and_evaluation(encoder, train, evaluate, ias, tmp_path, capsys, name):
    """Nodes of SM-SGE, or with --source_features its states, which feature files hold."""
    method, states = name.removesuffix("-states"), name.endswith("-states")
    kind = ("--source_features", "states") if states else ()
    own = encoder(method)
    result = train(method, *kind)
    title = f"{name} + SimMC"
    assert (result["kind"], result["method"], result["source"]) == ("retrieval", title, name)
    table = capsys.readouterr().out
    for words in (f"{title}, IAS/A", f"\n{name} ", "D-16", "untrained encoder"):
        assert words in table
    assert f"{title} best" in table and f"{title} last" in table
    assert pick(result["baselines"][name], RETRIEVAL) == pick(own, RETRIEVAL)
    assert (f"{name}, mean frame" in result["baselines"]) == (method == "SM-SGE")
    assert result["untrained"] != own["untrained"]
    folder = tmp_path / "out" / f"{name}+SimMC" / "IAS" / "A"
    assert {path.name for path in folder.iterdir()
            } == {*("best.pt", "last.pt", "history.csv", "log.txt", "results.json"), "run.json"}
    assert f"{method}, epoch 1, trained on train" in (folder / "log.txt").read_text()
    best = result["best"]
    ranks = SavedRun(folder, tmp_path / "data").encoded.ranks
    assert (ranks <= 5).mean() == pytest.approx(best["top5"])
    for found in (train(method, "--mode", "Eval", *kind), evaluate(folder / "best.pt"),
                  evaluate(folder / "best.pt", "--source", method, "--out", tmp_path / "out")):
        assert pick(found, best) == best
        assert found["method"] == title
    if name == "SM-SGE":
        assert checkpoint.load(folder / "best.pt")["arguments"]["inputs"] == 8 * (39 + 20 + 10 + 5)
        return
    # The same from feature files: the source's, and those of SimMC on top of it.
    by_files = train(tmp_path / f"{method}.npz", "--save_features", tmp_path / "top.npz")
    rows = ("best", "last", "untrained")
    assert pick(by_files, rows) == pick(result, rows)
    assert pick(evaluate(folder / "best.pt", "--source", tmp_path / f"{method}.npz"), best) == best
    assert pick(score_files(tmp_path / "top"), RETRIEVAL) == pick(best, RETRIEVAL)


@pytest.mark.parametrize(("source", "found"), [((), "found no --source"),
                                               (("--source", "statistics"), "found statistics"),
                                               (("--source", "AGE"), "found AGE")])
def test_states_are_those_of_sm_sge_alone(ias, encoder, capsys, source, found):
    if found == "found AGE":
        encoder("AGE")
    words = (*source, "--source_features", "states")
    assert found in error_of(capsys, "train_simmc", *ias, *SIMMC, *words)


def test_untrained_figures_are_those_of_the_encoder_on_the_features(encoder, train, tmp_path):
    encoder("SM-SGE")
    result = train("SM-SGE", "--source_features", "states")
    parts = [features.read(tmp_path / f"SM-SGE.{part}.npz") for part in ("probe", "gallery")]
    model = SimMC(16, 16, 1, torch.Generator().manual_seed(0))
    ours = [encode_set(model, part.frames) for part in parts]
    distances = torch.cdist(*ours, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = parts[1].labels[distances.argmin(dim=1).numpy()]
    assert result["untrained"]["top1"] == pytest.approx((nearest == parts[0].labels).mean())


def test_the_descriptor_of_window_statistics_needs_no_encoder(train, evaluate, tmp_path):
    result = train("statistics")
    folder = tmp_path / "out" / "statistics+SimMC" / "IAS" / "A"
    assert result["method"] == "statistics + SimMC"
    assert pick(evaluate(folder / "best.pt"), RETRIEVAL) == pick(result["best"], RETRIEVAL)
    sets = data.load("IAS", "A", 6, tmp_path / "data", balance=False, shuffle=False)
    frames = features.describe("probe", sets.probe).frames
    x = sets.probe.skeletons[3, 2]
    np.testing.assert_allclose(frames[3, 2, :2], [np.linalg.norm(x[0] - x[j]) for j in (1, 2)],
                               rtol=1e-5)
    assert checkpoint.load(folder / "best.pt")["arguments"]["inputs"] == frames.shape[2] == 250


def test_the_same_rows_are_resampled(encoder, train, tmp_path, monkeypatch):
    """Features whose first two numbers are the label and the window are drawn as the skeletons
    are.
    """
    stored = data.load("IAS", "A", 6, tmp_path / "data", balance=False, shuffle=False)
    for part in ("train", "probe", "gallery"):
        labels = getattr(stored, part).labels
        frames = np.zeros((len(labels), 6, 2), dtype=np.float32)
        frames[..., 0], frames[..., 1] = labels[:, None], np.arange(len(labels))[:, None]
        np.savez(tmp_path / f"n.{part}.npz", features=frames[:, 0], labels=labels, frames=frames)
    seen = []
    load = retrieval.load
    monkeypatch.setattr(retrieval, "load", lambda *args: seen.append(load(*args)) or seen[-1])
    for options in ((), ("--no-balance",), ("--protocol", "released")):
        seen.clear()
        monkeypatch.setattr(clusters, "cluster", lambda v, *_, **__: np.arange(len(v)) % 3)
        train(tmp_path / "n.npz", *options)
        expected = data.load("IAS", "A", 6, tmp_path / "data", seed=0, batch_size=20,
                             balance="--no-balance" not in options)
        kept = len(expected.train) // 20 * 20 if "released" in options else len(expected.train)
        rows = seen[0].train.skeletons[:, 0]
        np.testing.assert_array_equal(rows[:, 0], expected.train.labels[:kept])
        np.testing.assert_array_equal(rows[:, 1], expected.order[:kept])


def test_same_seed_same_numbers_and_resume(encoder, train):
    encoder("AGE")
    first = train("AGE", "--epochs", 4)
    assert without_time(train("AGE", "--epochs", 4)) == without_time(first)
    train("AGE", "--epochs", 2)
    assert without_time(train("AGE", "--epochs", 4, "--resume")) == without_time(first)
    assert train("AGE", "--seed", 1)["last"] != first["last"]


def test_settings_and_centring_are_the_source_s(encoder, train, tmp_path):
    encoder("AGE", "--centred", "--hidden", 5)
    result = train(tmp_path / "out" / "AGE" / "IAS" / "LA_retrieval" / "encoder" / "best.pt")
    by_files = train(tmp_path / "AGE.npz")
    assert result["last"] == by_files["last"]
    assert result["settings"]["mask_lambda"] == 0.75  # IAS A's


def test_released_protocol(encoder, train, tmp_path):
    encoder("SM-SGE")
    result = train("SM-SGE", "--protocol", "released", "--batch_size", 16, "--no-balance")
    assert (result["probes"], result["gallery"]) == (32, 32)
    assert result["baselines"]["SM-SGE"]["probes"] == 32


def test_an_encoder_of_recognition_counts_where_it_saw_the_same_training_set(encoder, train):
    encoder("AGE", "--task", "recognition", "--recognition_epochs", 1)
    assert train("AGE")["method"] == "AGE + SimMC"


# Bad input


def test_features_of_an_encoder_of_other_weights_are_refused(encoder, train, ias, tmp_path, capsys):
    encoder("AGE")
    train("AGE")
    encoder("AGE", "--lr", 0.02)
    message = error_of(capsys, "train_simmc", *ias, *SIMMC, "--source", "AGE", "--resume")
    assert "source_digest" in message
    best = tmp_path / "out" / "AGE+SimMC" / "IAS" / "A" / "best.pt"
    message = error_of(capsys, "evaluate", *ias, "--source", "AGE", "--checkpoint", best)
    assert "expected features of AGE, 12 with weights" in message


def test_wrong_pairings_are_refused(encoder, train, ias, tmp_path, capsys):
    encoder("AGE")
    encoder("SM-SGE")
    train("AGE")
    on_skeletons = [*ias, *SIMMC, "--epochs", 1]
    assert run("train_simmc", *on_skeletons) == 0
    best = tmp_path / "out" / "AGE+SimMC" / "IAS" / "A" / "best.pt"
    where = ("--dataset", "IAS", "--data", tmp_path / "data", "--out", tmp_path / "out",
             "--checkpoint")
    message = error_of(capsys, "evaluate", *where, best, "--source", "SM-SGE")
    assert "expected features of AGE, " in message
    assert "found" in message
    message = error_of(capsys, "evaluate", *where, best, "--source", tmp_path / "SM-SGE.npz")
    assert "AGE, 12 with weights" in message and ", 16 with frames" in message
    message = error_of(capsys, "evaluate", *where, tmp_path / "out" / "IAS" / "A" / "best.pt",
                       "--source", "AGE")
    assert "expected skeletons, on which it was trained, found --source AGE" in message
    message = error_of(capsys, "train_simmc", *ias, *SIMMC, "--source", best)
    assert "expected frame features of AGE, on which it was trained, found no --source" in message
    content = checkpoint.load(best)
    (tmp_path / "out" / "AGE" / "IAS" / "LA_retrieval" / "encoder" / "best.pt").unlink()
    message = error_of(capsys, "evaluate", *where, best)
    assert content["source_file"] in message


def test_windows_of_another_joint_order_are_refused(encoder, train, ias, tmp_path, capsys):
    for order in ("kinect", "file"):
        note = json.dumps({"simulated": False, "joint_order": order})
        (tmp_path / "data" / "IAS" / "6" / "split.json").write_text(note)
        if order == "kinect":
            encoder("AGE")
    message = error_of(capsys, "train_simmc", *ias, "--source", "AGE")
    assert "trained on windows with joint_order kinect, these have file" in message


def test_missing_encoder_names_the_command(ias, capsys, tmp_path):
    message = error_of(capsys, "train_simmc", *ias, "--source", "AGE")
    assert str(tmp_path / "out" / "AGE" / "IAS" / "LA_retrieval" / "encoder" / "best.pt") in message
    assert "python train_age.py --dataset IAS --task retrieval" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda x: {"labels": x["labels"], "features": x["features"]},
      "frame features `frames` (N, 6, d), d as in the training's, found None"),
     (lambda x: {**x, "frames": x["frames"][:, :4]},
      "`frames` (N, 6, d), d as in the training's, found (40, 4, 7)"),
     (lambda x: {**x, "frames": x["frames"][..., :5]}, "d as in the training's, found (40, 6, 7)"),
     (lambda x: {**x, "labels": x["labels"][::-1]}, "labels of IAS's train windows in the order"),
     (lambda x: {name: array[:-1] for name, array in x.items()}, "expected the 40 labels"),
     (lambda x: {**x, "frames": x["frames"] * np.nan}, "expected finite frames"),
     (lambda x: {**x, "frames": x["frames"][..., 0]}, "expected an array 'frames' with 3 axes"),
     (lambda x: {**x, "frames": np.array(5.0)}, "array 'frames' with 3 axes, found ()")])
def test_wrong_feature_files(ias, tmp_path, capsys, change, message):
    for part in ("train", "probe", "gallery"):
        labels = np.repeat(np.arange(5), 8)
        frames = np.random.RandomState(0).normal(size=(40, 6, 7)).astype(np.float32)
        arrays = {"features": frames.mean(axis=1), "labels": labels, "frames": frames}
        np.savez(tmp_path / f"x.{part}.npz", **(change(arrays) if part == "train" else arrays))
    assert message in error_of(capsys, "train_simmc", *ias, *SIMMC, "--source", tmp_path / "x.npz")


@pytest.mark.parametrize(("arguments", "message"),
                         [(("--source", "PoseGait"), "expected AGE, SM-SGE, MG-SCR, SGELA, "),
                          (("--source", "none.npz"), "no feature file at none.train.npz")])
def test_wrong_use(ias, capsys, arguments, message):
    assert message in error_of(capsys, "train_simmc", *ias, *arguments)
