"""export.py: ONNX graphs against PyTorch, and what is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
from checkpoints import MODELS, write
from commands import error_of, run

import export
import skeleton_reid


@pytest.mark.parametrize("method", MODELS)
def test_features_are_those_of_the_encoder(tmp_path, method):
    about = {"data": {"simulated": True}, "length": 4}
    path, file = write(tmp_path / "best.pt", method, **about), tmp_path / "new" / "model.onnx"
    assert run("export", path, "--onnx", file) == 0
    encoder = skeleton_reid.load(path, "cpu")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch in (1, 5, 40):
        windows = np.random.RandomState(batch).normal([1, 0, 3], size=(batch, 4, 20, 3))
        [features] = session.run(None, {"skeletons": windows.astype(np.float32)})
        np.testing.assert_allclose(features, encoder.encode(windows), atol=1e-5)
    model = onnx.load(file)
    onnx.checker.check_model(model)
    assert {prop.key: prop.value for prop in model.metadata_props} == {
        "method": method, "dataset": "IAS", "data": "simulated", "supervision": "none",
        "joints": "20", "f": "4", "skeleton": "kinect_v1"
    }


def test_a_graph_that_differs_is_not_left(tmp_path, capsys, monkeypatch):
    path, file = write(tmp_path / "best.pt", "SimMC"), tmp_path / "model.onnx"
    file.write_bytes(b"old")
    monkeypatch.setattr(export.Graph, "forward", lambda self, x: self.model.encode(x)[:, 0])
    error = error_of(capsys, "export", path, "--onnx", file)
    assert "differ from PyTorch" in error
    assert file.read_bytes() == b"old"


def test_missing_packages_and_options(tmp_path, capsys, monkeypatch):
    path = write(tmp_path / "best.pt", "SimMC")
    assert "--onnx" in error_of(capsys, "export", path)
    assert "no checkpoint" in error_of(capsys, "export", tmp_path / "a.pt", "--onnx", "a.onnx")
    monkeypatch.setattr(export, "onnx", None)
    error = error_of(capsys, "export", path, "--onnx", tmp_path / "a.onnx")
    assert "pip install onnx onnxruntime" in error
