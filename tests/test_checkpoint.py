"""Checkpoints and feature files: whole or untouched after a crash, and never a way to run code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import error_of

from skeleton_reid.common.errors import InputError
from skeleton_reid.engine import checkpoint


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "best.pt"
    checkpoint.save(path, {"method": "SimMC", "epoch": 1})
    before = path.read_bytes()

    def full(content, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"No space left.*the old file is kept"):
        checkpoint.save(path, {"method": "SimMC", "epoch": 2})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def test_an_interruption_while_saving_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"method": "SimMC", "epoch": 1})

    def interrupted(content, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"method": "SimMC", "epoch": 2})
    assert checkpoint.load(path)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


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
