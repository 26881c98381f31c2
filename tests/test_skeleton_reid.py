"""skeleton_reid from Python: features of recordings and galleries, against plain versions."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tf_writer
import torch
from checkpoints import MODELS, write

import skeleton_reid
from skeleton_reid import Gallery, InputError, data
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.encoding import encode_set, load_model
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.models.statistics import frame_size

pytestmark = pytest.mark.filterwarnings("ignore:a recording looks wrong")
FRAMES = np.random.RandomState(1).normal([0, 0, 3], size=(20, 20, 3))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """An encoder of every method, by name."""
    folder = tmp_path_factory.mktemp("encoders")
    return {m: skeleton_reid.load(write(folder / f"{m}.pt", m), "cpu") for m in MODELS}


@pytest.mark.parametrize("method", MODELS)
@pytest.mark.parametrize("step", [1, 3, 7])
def test_windows_are_those_of_a_loop(encoders, method, step):
    encoder = encoders[method]
    expected = []
    for first in range(0, 15, step):
        window = FRAMES[first:first + 6]
        window = window - window[:, :1] if method != "AGE" else window  # its settings say so
        expected.append(encode_set(encoder.model, window[None].astype(np.float32))[0].numpy())
    found = encoder.windows(FRAMES, step)
    assert found.dtype == np.float32 and found.shape == (len(expected), encoder.size)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(encoder(FRAMES), encoder.windows(FRAMES, 3).mean(axis=0))


def test_kinds_of_numbers(encoders):
    encoder, frames = encoders["SimMC"], np.round(FRAMES * 100)
    expected = encoder(frames)
    kinds = [
        frames.astype(np.float32),
        frames.astype(np.int16),
        frames.tolist(),
        torch.from_numpy(frames),
        np.asfortranarray(frames),
        np.repeat(frames, 2, 0)[::2]
    ]
    for kind in kinds:
        np.testing.assert_array_equal(encoder(kind), expected)
    assert expected.shape == (16,)


def test_only_centred_features_forget_where_somebody_stands(encoders):
    moved = FRAMES + np.array([1, 2, 3])
    for method, encoder in encoders.items():
        assert np.allclose(encoder(moved), encoder(FRAMES), atol=1e-4) == (method != "AGE")


@pytest.mark.parametrize(("frames", "message"),
                         [(FRAMES[:5], "at least 6 frames.* found 5"),
                          (FRAMES[:, :19], r"\(T, 20, 3\).*\(20, 19, 3\)"),
                          (FRAMES[:, :, :2], r"found \(20, 20, 2\)"),
                          (FRAMES[None], r"found \(1, 20, 20, 3\)"),
                          (np.where(FRAMES > 4, np.nan, FRAMES), r"found \d+ NaN"),
                          (FRAMES * 1e12, "too large"), (FRAMES + 1j, "complex"),
                          ("frames.npy", "<U10"), ([[1, 2], [3]], "inhomogeneous"),
                          (None, "dtype..O"), ([], r"found \(0,\)")])
def test_frames_that_are_refused(encoders, frames, message):
    with pytest.raises(InputError, match=message) as error:
        encoders["SimMC"](frames)
    assert "\n" not in str(error.value)


def test_frames_in_another_unit(encoders, recwarn):
    frames = FRAMES / 8
    frames[:, [3, 15, 19], 1] += 0.7, -0.7, -0.7  # head and feet
    encoders["SimMC"](frames)
    assert not recwarn.list
    with pytest.warns(data.DataWarning, match="looks wrong: people of 1,[0-9]* m"):
        encoders["SimMC"](frames * 1000)


@pytest.mark.parametrize("step", [0, -1, 1.5, np.nan, "3"])
def test_step_is_refused(encoders, step):
    with pytest.raises(InputError, match=f"a whole step from 1 on, found 20 and {step!r}"):
        encoders["SimMC"].windows(FRAMES, step)


@pytest.mark.parametrize("frames", [
    np.ma.array(FRAMES, mask=FRAMES > 4),
    np.ma.array(FRAMES.astype(int), mask=FRAMES > 4),
    list(np.ma.array(FRAMES, mask=FRAMES > 4))
])
def test_masked_joints_are_lost(encoders, frames):
    with pytest.raises(InputError, match=r"found \d+ NaN"):
        encoders["SimMC"](frames)


@pytest.mark.parametrize(("path", "dataset"), [("BIASED/KS20/best", "KS20"), ("IAS_LA/best", "IAS"),
                                               ("KS20/of/BIWI-Still/best", "BIWI"),
                                               ("BIASED/best", None), ("KS201/best", None)])
def test_a_data_set_is_a_word_of_the_path(tmp_path, path, dataset):
    variables = {"Variable": np.eye(8, dtype=np.float32), "Variable_1": np.zeros(8, np.float32)}
    joints = 3 * len(data.datasets.get(dataset or "IAS").skeleton)
    for name, inputs in (("dense", joints), ("dense_1", 8)):
        variables |= {f"{name}/kernel": np.ones((inputs, 8), np.float32)}
        variables |= {f"{name}/bias": np.zeros(8, np.float32)}
    path = tmp_path / f"{path}.ckpt"
    path.parent.mkdir(parents=True)
    tf_writer.write(path, variables)
    if dataset:
        assert skeleton_reid.load(path).dataset == dataset
    else:
        with pytest.raises(InputError, match="expected --dataset"):
            skeleton_reid.load(path)
    with pytest.raises(InputError, match="unexpected keyword argument 'lenght'"):
        skeleton_reid.load(path, lenght=6)


def test_what_an_encoder_says_of_itself(tmp_path):
    settings = {**vars(METHODS["statistics"].settings()), "tracklets": True}
    about = {"settings": settings, "data": {"simulated": True}}
    encoder = skeleton_reid.load(str(write(tmp_path / "a.pt", "statistics", **about)))
    assert str(encoder) == "statistics on IAS (simulated), f = 6, supervision: tracklets"
    assert repr(encoder) == str(encoder)
    assert (encoder.joints[:2], len(encoder.joints)) == (("HipCenter", "Spine"), 20)
    assert (encoder.length, encoder.size, encoder.centred) == (6, 8 + frame_size(20), True)


def test_what_an_import_does_before_pytorch_is_loaded():
    """Waiting threads leave their core; a Python without the packages is told what to do."""
    code = "import os, skeleton_reid; print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in ({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"):
        assert python("-c", code, **given).stdout == f"{expected}\n"
    expected = "lacks torch: make setup, then . .venv/bin/activate"
    for words in (("train_simmc.py", "--dataset", "KS20"), ("-m", "benchmarks"),
                  ("-m", "examples.own_data.simulate_walkers"), ("-m", "data.simulate")):
        found = python("-S", *words)
        assert (found.returncode, found.stdout) == (2, "")
        assert found.stderr == f"error: {sys.executable} {expected}\n"


def python(*words: str, **environment: str) -> subprocess.CompletedProcess:
    """Run Python in the project's folder."""
    inherited = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    return subprocess.run([sys.executable, *words], cwd=Path(__file__).parents[1], text=True,
                          capture_output=True, env=inherited | environment)


def test_weights_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("skeleton_reid.engine.published.WEIGHTS", tmp_path)
    with pytest.raises(InputError, match=r"no weights at .*\.pt: make weights RAW="):
        skeleton_reid.load("kgbd-statistics")
    write(tmp_path / "kgbd-statistics.pt", "statistics")
    gallery = Gallery(skeleton_reid.load("kgbd-statistics"))
    gallery.save(tmp_path / "people.gallery")
    assert Gallery.load(tmp_path / "people.gallery").encoder.method == "statistics"


def test_checkpoints_of_a_run_say_whether_their_data_are_simulated(once):
    train, _ = once("SimMC", "--epochs", 1)
    assert skeleton_reid.load(train.path("best.pt")).simulated is False


def test_an_authors_checkpoint(tmp_path):
    model = MODELS["SimMC"]()
    layers = zip(("dense", "dense_1"), model.encoder, strict=True)
    variables = {f"SimMC/{name}/kernel": layer.weight.detach().numpy().T for name, layer in layers}
    variables |= {f"SimMC/{name}/bias": np.zeros(16, np.float32) for name in ("dense", "dense_1")}
    variables |= {"Variable": np.eye(16, dtype=np.float32), "Variable_1": np.zeros(16, np.float32)}
    for name in ("IAS/A/best.ckpt", "mine.ckpt"):
        tf_writer.write(tmp_path / name, variables)
    encoder = skeleton_reid.load(tmp_path / "IAS" / "A" / "best.ckpt")
    window = torch.from_numpy(FRAMES[:6] - FRAMES[:6, :1]).float()
    expected = model.encode(window[None]).mean(dim=1)[0].detach()
    np.testing.assert_allclose(encoder(FRAMES[:6]), expected, rtol=1e-5, atol=1e-6)
    again = skeleton_reid.load(tmp_path / "mine.ckpt", dataset="IAS", length=4)
    assert (again.length, again.digest) == (4, encoder.digest)
    gallery = Gallery(again)
    gallery.save(tmp_path / "people.gallery")
    assert Gallery.load(tmp_path / "people.gallery").encoder.length == 4
    with pytest.raises(InputError, match="expected --dataset"):
        skeleton_reid.load(tmp_path / "mine.ckpt")


@pytest.mark.parametrize(("content", "message"),
                         [({"source": "AGE"}, "expected frame features of AGE"),
                          ({"arguments": {"inputs": 60, "H": 5}}, "do not fit"),
                          ({"arguments": {"inputs": 75, "H": 16}}, "frames of 25 joints")])
def test_checkpoints_that_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        skeleton_reid.load(write(tmp_path / "a.pt", "SimMC", **content))
    with pytest.raises(InputError, match="no checkpoint at"):
        skeleton_reid.load(tmp_path / "b.pt")


def test_the_folder_of_a_run_and_an_archive(tmp_path):
    write(tmp_path / "best.pt", "SimMC")
    assert skeleton_reid.load(tmp_path).method == "SimMC"
    np.savez(tmp_path / "walk.npz", FRAMES)
    with pytest.raises(InputError, match=r"walk\.npz: expected a recording .* in FILE\.npy"):
        skeleton_reid.read(tmp_path / "walk.npz")


def test_weights_are_those_of_the_checkpoint(encoders, tmp_path):
    path = write(tmp_path / "a.pt", "SM-SGE")
    model, _ = load_model(path, data.skeleton.get(20), 6, torch.device("cpu"))
    assert encoders["SM-SGE"].digest == checkpoint.weights_digest(model)
