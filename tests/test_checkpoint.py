"""Checkpoints and feature files: whole or untouched after a crash, and never a way to run code."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import write
from commands import error_of

import skeleton_reid
from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.models.statistics import Statistics


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "best.pt"
    checkpoint.save(path, {"method": "SimMC", "epoch": 1})
    before = path.read_bytes()

    def full(content, file):
        file.write(b"half of it")
        try:
            raise OSError(28, "No space left on device")
        finally:
            raise RuntimeError("unexpected pos")  # as PyTorch's writer does on its way out

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"No space left.*the old file is kept"):
        checkpoint.save(path, {"method": "SimMC", "epoch": 2})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def test_weights_that_do_not_fit_are_one_line():
    weights = torch.nn.Linear(2, 4).state_dict()
    expected = r"a\.pt do not fit the model: size mismatch for weight: [^\n]* and 1 more$"
    with pytest.raises(InputError, match=expected):
        checkpoint.load_weights(torch.nn.Linear(2, 3), weights, Path("a.pt"))


def test_an_interruption_while_saving_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"method": "SimMC", "epoch": 1})

    def interrupted(content, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"method": "SimMC", "epoch": 2})
    assert torch.load(path)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_names_of_before_are_read_as_those_of_now(tmp_path):
    """Keys and settings that have been renamed, wherever they stand."""
    model = Statistics(20, 16, 8, raw_weight=0.7, align=True)
    earlier = {name: model.arguments[name] for name in ("joints", "H", "D_out", "dropout")}
    path = write(tmp_path / "best.pt", "statistics", model=model.state_dict(),
                 arguments=earlier | {"beside": 0.7, "turned": True}, figures={"top1": 0.5},
                 settings={"beside": 0.7, "turned": True, "linked": False})
    content = checkpoint.load(path)
    settings = settings_of(content)
    assert (settings.raw_weight, settings.align, settings.link) == (0.7, True, False)
    assert content["metrics"] == {"top1": 0.5} and content["arguments"] == model.arguments
    assert list(content["model"]) == list(model.state_dict())


class Mischief:
    """Pickles to a call that would leave a file behind."""
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_checkpoint_that_holds_code_is_refused(training, tmp_path, capsys):
    train, trace = training("SimMC"), tmp_path / "trace"
    path = train.path("best.pt")
    path.parent.mkdir(parents=True)
    torch.save({"format": checkpoint.FORMAT, "model": Mischief(trace)}, path)
    said = train.error(capsys, "--mode", "Eval")
    assert ("not a readable checkpoint: it holds more than tensors" in said
            and "weights_only" not in said)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the file does run code where one lets it


def test_feature_file_that_holds_pickles_is_refused(tmp_path, capsys):
    path, trace = tmp_path / "f.npz", tmp_path / "trace"
    np.savez(path, features=np.array([Mischief(trace)], dtype=object), labels=np.zeros(1))
    assert "not a readable feature file" in error_of(capsys, "evaluate", "--probe", path,
                                                     "--gallery", path)
    assert not trace.exists()
    with np.load(path, allow_pickle=True) as file:
        assert file["features"].shape == (1,)
    assert trace.exists()  # the file does run code where one lets it


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """What a checkpoint of SimMC on 20 joints holds."""
    skeleton = datasets.get("IAS").skeleton.values()
    path = tmp_path_factory.mktemp("whole") / "best.pt"
    return checkpoint.load(write(path, "SimMC", skeleton=skeleton))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset):
    """Where IAS lies."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, "IAS", 6, persons=2, windows=2, rng=np.random.RandomState(0))
    return folder


def refused_by_all(capsys, folder, path):
    """The line with which every reader of a checkpoint refuses it."""
    with pytest.raises(InputError) as error:
        skeleton_reid.load(path)
    for words in (("evaluate", "--checkpoint", path, "--data", folder, "--device", "cpu"),
                  ("gallery", "add", path.with_name("x.gallery"), "x.npy", "--checkpoint",
                   path), ("export", path, "--onnx", path.with_name("x.onnx"))):
        assert str(error.value) in error_of(capsys, *words)
    return str(error.value)


@pytest.mark.parametrize("key",
                         ["method", "dataset", "length", "seed", "settings", "arguments", "model"])
def test_a_checkpoint_that_lacks_a_key(content, folder, tmp_path, capsys, key):
    """As one of a version before this one; the version is what it says."""
    torch.save({n: x for n, x in content.items() if n != key} | {"version": "0.0.9"},
               tmp_path / "a.pt")
    said = refused_by_all(capsys, folder, tmp_path / "a.pt")
    assert f"a.pt does not fit this version ({checkpoint.VERSION}), it was made by 0.0.9: " in said
    assert f"{key}" in said and said.count("\n") == 0


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: {"skeleton": c["skeleton"] | {"symmetry": []}}, "unknown field `symmetry`"),
    (lambda c: {"arguments": c["arguments"] | {"heads": 4}}, "unexpected keyword argument 'heads'"),
    (lambda c: {"arguments": {"inputs": 60, "H": "16"}}, ""),
    (lambda c: {"arguments": {"H": 16}}, ""),
    (lambda c: {"method": "Gait-GPT"}, "expected one of the methods SimMC, "),
    (lambda c: {"method": 3}, "Expected `str`"), (lambda c: {"length": "6"}, "Expected `int`"),
    (lambda c: {"settings": None}, "Expected `object`"),
    (lambda c: {"settings": torch.zeros(3)}, "'Tensor' object has no attribute 'keys'"),
    (lambda c: {"model": [1]}, "Expected `obj"), (lambda c: {"data": [True]}, "Expected `object`"),
    (lambda c: {"recogniser": {}}, "missing"), (lambda c: {"probe": ["A"]}, "Expected `str | null`")
])
def test_a_checkpoint_that_holds_something_else(content, folder, tmp_path, capsys, change, message):
    torch.save(content | change(content), tmp_path / "a.pt")
    said = refused_by_all(capsys, folder, tmp_path / "a.pt")
    assert "does not fit this version" in said and message in said


def test_a_checkpoint_without_a_version_and_with_a_key_more(content, folder, tmp_path, capsys):
    """The key is none of ours; files of versions before this one do not say which."""
    path = tmp_path / "a.pt"
    old = {key: value for key, value in content.items() if key != "version"}
    torch.save(old | {"weather": "fine"}, path)
    assert skeleton_reid.load(path).method == "SimMC"
    torch.save(old | {"method": "Gait-GPT"}, path)
    assert "made by one that did not write its number" in refused_by_all(capsys, folder, path)


def test_a_state_of_another_version_is_not_resumed(training, capsys):
    train = training("SimMC")
    train("--epochs", 1)
    path = train.path("last.pt")
    whole = path.read_bytes()
    for change in (lambda c: c["state"].pop("optimizer"), lambda c: c["state"]["optimizer"].clear(),
                   lambda c: c["state"]["rng"].pop("gauss"), lambda c: c["state"]["best"].clear(),
                   lambda c: c["state"]["rng"].update(gauss=[1]),
                   lambda c: c["state"].update(rng=3), lambda c: c.pop("history"),
                   lambda c: c.pop("epoch"), lambda c: c["history"][0].update(mAP=[1]),
                   lambda c: c.pop("state")):
        path.write_bytes(whole)
        content = torch.load(path)
        change(content)
        torch.save(content, path)
        said = train.error(capsys, "--resume", "--epochs", 2)
        assert "last.pt does not fit this version" in said or "last.pt lacks optimizer" in said


def test_a_recogniser_of_another_version(once, tmp_path, capsys):
    train, _ = once("SM-SGE", "--epochs", 1)
    content = torch.load(next(train.path("recogniser").glob("best*.pt")))
    changes = [({"persons": 3}, "Expected"), ({"arguments": {"layers": 3}}, "argument")]
    for change, message in changes:
        path = tmp_path / "a.pt"
        torch.save(content | {"recogniser": content["recogniser"] | change}, path)
        assert message in train.evaluate_error(capsys, path)
    torch.save(content | {"metrics": {}}, path)
    assert f"made by {checkpoint.VERSION}: 'epoch'" in train.evaluate_error(capsys, path)


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((Path(checkpoint.__file__).parents[1] / "pyproject.toml").read_text())
    assert project["project"]["version"] == checkpoint.VERSION
