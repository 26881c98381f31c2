"""train_sgela.py end to end on small random data; the released run, followed step by step."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import unpack
from training import RETRIEVAL, pick, same, without_time

import train_sgela
from skeleton_reid import data
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.methods.sgela import PLUS
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.age import AXES, CLIP
from skeleton_reid.models.sgela import CAGE, SGELA

SHARED = Path(__file__).parents[2] / "shared" / "golden"


@pytest.fixture
def train(training):
    return training("SGELA")


def test_both_phases(train):
    """Recognition of both tests; Eval and evaluate.py agree with the run."""
    result = train("--epochs", 3)
    assert set(result["tests"]) == {"A", "B"} and result["kind"] == "recognition"
    rows = train.history("recogniser")
    assert max(float(row["rank1_A"]) for row in rows) == result["best"]["rank1"]
    assert float(train.history("encoder")[-1]["total"]) < float(
        train.history("encoder")[0]["total"])
    for again in (train("--mode", "Eval"),
                  train.evaluate(train.path("recogniser", "best_A.pt"), "--probe", "A")):
        for name in ("rank1", "nAUC_roc", "loss"):
            assert again[name] == pytest.approx(result["best"][name], abs=1e-6)


def test_same_seed_and_resume(train, tmp_path):
    """Interrupted in either phase and resumed: the same to the last bit; another seed is not."""
    whole = train("--pre_epochs", 3, "--recognition_epochs", 3, "--model", "sorting")
    train.script = replace(train.script, folder="SGELA/IAS/sorting_BA")
    weights = train.weights("encoder"), train.history("recogniser")
    train.out = tmp_path / "again"
    train("--pre_epochs", 2, "--recognition_epochs", 1, "--model", "sorting")
    again = train("--pre_epochs", 3, "--recognition_epochs", 3, "--resume", "--model", "sorting")
    assert same(train.weights("encoder"), weights[0])
    assert train.history("recogniser") == weights[1]
    assert without_time(again) == without_time(whole)
    train.out = tmp_path / "other"
    train("--pre_epochs", 3, "--recognition_epochs", 3, "--seed", 1, "--model", "sorting")
    assert not same(train.weights("encoder"), weights[0])


def test_plus_has_an_encoder_a_task(train, tmp_path):
    """Columns: for each axis the tasks; as released the first encoder's, three times."""
    file = tmp_path / "F.npz"
    train.script = replace(train.script, folder="SGELA/IAS/rev_rec_plus_retrieval")
    words = ("--model", "rev_rec_plus", "--epochs", 1, "--task", "retrieval", "--save_features")
    train(*words, file)
    content = checkpoint.load(train.path("encoder", "best.pt"))
    encoders = content["arguments"]["encoders"]
    assert tuple(encoders) == PLUS
    assert [own["attention"] for own in encoders.values()] == ["LA", "BA", "BA"]
    with np.load(tmp_path / "F.probe.npz") as features:
        assert features["frames"].shape[1:] == (6, 3 * 3 * 8)
        assert features["features"].shape[1] == 3 * 3 * 8
    train.out = tmp_path / "released"
    train(*words, file, "--protocol", "released")
    content = checkpoint.load(train.path("encoder", "best.pt"))
    assert tuple(content["arguments"]["encoders"]) == ("rev_rec",)
    with np.load(tmp_path / "F.probe.npz") as features:
        x, y, z = np.split(features["frames"], 3, axis=2)
        for axis in (x, y, z):
            first, second, third = np.split(axis, 3, axis=2)
            assert (first == second).all() and (second == third).all()


def test_columns_of_several_encoders():
    encoders = {task: {"hidden": 4, "length": 3} for task in ("rev_rec", "sorting")}
    model, x = CAGE(5, encoders), torch.randn(2, 3, 5, 3)
    parts = [own.encode(x)["encodings"].chunk(3, dim=2) for own in model.encoders.values()]
    expected = torch.cat([part[axis] for axis in range(3) for part in parts], dim=2)
    assert torch.equal(model.embed(x), expected)
    assert not torch.equal(*[own.encoder.cells[0].weight for own in model.encoders.values()])


def test_windows_scaled_by_their_range():
    """(x - min) / (max - min + 1) of each number, held by the model."""
    x = torch.randn(4, 3, 5, 3)
    scaled = CAGE(5, {"rev_rec": {"hidden": 4, "length": 3}}, scaled=True)
    plain = CAGE(5, {"rev_rec": {"hidden": 4, "length": 3}})
    plain.load_state_dict({n: v for n, v in scaled.state_dict().items() if n != "ranges"})
    scaled.ranges[0], scaled.ranges[1] = x.amin(dim=0), x.amax(dim=0) - x.amin(dim=0)
    expected = torch.empty_like(x)
    for place in np.ndindex(3, 5, 3):
        own = x[(slice(None), *place)]
        expected[(slice(None), *place)] = (own - own.min()) / (own.max() - own.min() + 1)
    torch.testing.assert_close(scaled.embed(x), plain.embed(expected))


@pytest.mark.parametrize("norm", [1, 0])
def test_retrieval(train, norm):
    train.script = replace(train.script, folder="SGELA/IAS/rev_rec_retrieval")
    result = train("--epochs", 2, "--task", "retrieval", "--norm", norm)
    best = train.path("encoder", "best.pt")
    assert pick(train.evaluate(best), RETRIEVAL) == pick(result, RETRIEVAL)


@pytest.mark.parametrize(("option", "value"), [("--model", "prediction"), ("--model", "sorting"),
                                               ("--model", "reconstruction"), ("--attention", "BA"),
                                               ("--t", 0.5), ("--contrast_weight", 0.0),
                                               ("--neighbours", "file"), ("--no-copies", None),
                                               ("--centred", None), ("--two_thirds", None),
                                               ("--hidden", 4), ("--lr", 0.02),
                                               ("--batch_size", 10), ("--protocol", "released")])
def test_every_setting_has_an_effect(option, value, train, once):
    """On the losses of the encoders."""
    usual, _ = once("SGELA", "--epochs", 1)
    words = (option,) if value is None else (option, value)
    train("--epochs", 1, *words)
    folder = next(path.name for path in train.path().parent.iterdir())
    train.script = replace(train.script, folder=f"SGELA/IAS/{folder}")
    totals = [[row["total"] for row in run.history("encoder")] for run in (train, usual)]
    assert totals[0] != totals[1]


@pytest.mark.parametrize(("option", "value"), [("--manner", "sc"), ("--recognition_lr", 0.1),
                                               ("--recognition_batch", 16)])
def test_settings_of_the_recogniser(option, value, train, once):
    usual, _ = once("SGELA", "--epochs", 1)
    train("--epochs", 1, option, value)
    phase = "sc" if value == "sc" else "recogniser"
    assert train.history("encoder") == usual.history("encoder")
    assert train.history(phase) != usual.history("recogniser")


def test_windows_that_follow_each_other():
    """Within a recording, without these files within a person; in the file all do."""
    windows = data.Sequences(np.zeros((5, 2, 5, 3)), np.array([0, 0, 0, 1, 1]),
                             np.array([3, 3, 4, 4, 4]))
    inside, persons = train_sgela.neighbours(windows,
                                             "recording"), replace(windows, recordings=None)
    assert inside.tolist() == [True, False, True, True]
    assert train_sgela.neighbours(persons, "recording").tolist() == [True, True, False, True]
    assert train_sgela.neighbours(windows, "file").all()


def test_wrong_use(train, capsys):
    assert "at least 2 frames, found 1" in train.error(capsys, "--length", 1)
    assert "--model" in train.error(capsys, "--model", "all")
    assert "--balance" in train.error(capsys, "--balance")
    words = ("--protocol", "released", "--epochs", 1, "--recognition_batch", 100_000)
    assert "use a smaller --recognition_batch" in train.error(capsys, *words)


def test_a_transferred_encoder_has_its_own_temperature_and_origin(train, write_dataset, capsys):
    write_dataset(train.data, "BIWI", 6, 5, 8, np.random.RandomState(1), noise=1.5)
    train("--epochs", 1, "--t", 0.5, dataset="BIWI")
    encoder = train.out / "SGELA" / "BIWI" / "rev_rec" / "encoder" / "best.pt"
    assert train("--epochs", 1, "--encoder", encoder)["encoder"] == str(encoder)
    assert "made with centred = False" in train.error(capsys, "--centred", "--encoder", encoder)


def test_recognition_stays_where_a_released_batch_of_probes_is_lacking(train):
    """Its own test wants no whole batch."""
    probe = train.parts["A"]
    labels = np.load(probe.frame_id)
    np.save(probe.frame_id, labels[::4])
    for axis in AXES:
        rows = np.load(probe.axis(axis))
        np.save(probe.axis(axis), rows.reshape(len(labels), -1)[::4].reshape(-1, rows.shape[-1]))
    result = train("--epochs", 1, "--protocol", "released")
    assert "rank1" in result and "top1" not in result["retrieval"]


# ---- the released run


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the released run is not at {SHARED}")
def test_released_run_is_followed(tmp_path):
    """The losses and, on the first batch, the metrics of the first two epochs of all axes."""
    unpack(SHARED / "golden_sgela_dev_run_Datasets.tar.gz", tmp_path)
    sets = data.load_recognition("IAS", None, 6, tmp_path / "Datasets", balance=False,
                                 shuffle=False)
    with np.load(SHARED / "golden_sgela_dev_run_centred.npz") as file:
        variables = {name.replace("/w/", "/"): file[name] for name in file.files if "/w/" in name}
        curves = np.stack([file[f"{axis}/curve"] for axis in AXES], axis=1)  # (epochs, 3, 3)
        columns = json.loads(str(file["meta"]))["columns_curve"]
    assert len(columns) == 3
    model = SGELA.from_published(variables, count_copies=True)
    batches = torch.from_numpy(sets.train.skeletons).split(32)[:len(sets.train) // 32]
    optimizer = TFAdam(model.parameters(), 0.0005)
    for epoch in range(2):
        for batch in batches:
            losses = model.losses(batch)
            optimizer.zero_grad()
            losses["total"].sum().backward()
            torch.nn.utils.clip_grad_value_(model.parameters(), CLIP)
            optimizer.step()
        with torch.no_grad():
            after = model.losses(batches[0])
        found = [losses["reconstruction"], after["reconstruction"], after["contrastive"]]
        found = torch.stack([term.detach() for term in found], dim=1)
        np.testing.assert_allclose(found, curves[epoch], rtol=1e-4)
