"""AGE's attention over a test set, drawn by train_age.py and by python -m tools.attention."""

import json

import numpy as np
import pytest
import torch
from commands import error_of, run

from models.age import AGE, locality_mask
from tools import attention

SMALL = ("--hidden", 8, "--batch_size", 16, "--epochs", 1, "--quiet")


@pytest.fixture
def ias(tmp_path, write_dataset):
    """The arguments that name a data set of 4 persons, 5 windows each in every split."""
    write_dataset(tmp_path / "data", "IAS", 6, 4, 5, np.random.RandomState(0))
    return ["--dataset", "IAS", "--data", tmp_path / "data"]


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, by the file's name: drawing takes longer than the rest."""
    found = {}

    def draw(path, matrices, target, title):
        found[path.name] = matrices, target, title
        path.touch()

    monkeypatch.setattr(attention, "picture", draw)
    return found


def test_side_by_side(ias, drawn, tmp_path):
    """The rows of the picture are what each run has drawn of itself: means of single alignments."""
    results = {}
    for name in ("LA", "BA"):
        arguments = ("--attention", name, "--out", tmp_path / "out", "--json",
                     tmp_path / "run.json")
        assert run("train_age", *ias, *SMALL, *arguments) == 0
        results[name] = json.loads((tmp_path / "run.json").read_text())["attention"]
    models = [tmp_path / f"out/AGE/IAS/{name}/encoder/best.pt" for name in results]
    more = ("--out", tmp_path / "both.png", "--json", tmp_path / "both.json", "--quiet")
    assert run("tools.attention", *models, *ias, *more) == 0
    matrices, target, title = drawn["both.png"]
    assert list(matrices) == ["LA", "BA"] and "IAS A, mean of 20 sequences" in title
    np.testing.assert_array_equal(target, locality_mask(6))
    assert not np.array_equal(matrices["LA"], matrices["BA"])
    for name, result in results.items():
        np.testing.assert_allclose(matrices[name], result["alignment"], rtol=1e-6)
    assert json.loads((tmp_path / "both.json").read_text())["models"] == results
    assert run("tools.attention", models[0], *ias, "--probe", "B", *more) == 0
    assert not np.array_equal(drawn["both.png"][0]["LA"], matrices["LA"])


def test_mean_alignment(monkeypatch):
    model = AGE(5, 4)
    skeletons = torch.randn(7, 3, 5, 3, generator=torch.Generator().manual_seed(0))
    slow = sum(model.encode(one[None])["alignment"][:, 0].detach() for one in skeletons) / 7
    monkeypatch.setattr(attention, "BATCH", 3)
    torch.testing.assert_close(attention.mean_alignment(model, skeletons), slow)


@pytest.mark.parametrize(("models", "suffix", "begins"), [(1, "png", b"\x89PNG"),
                                                          (2, "PDF", b"%PDF")])
def test_picture(tmp_path, models, suffix, begins):
    path = tmp_path / "new" / f"alignment.{suffix}"
    matrices = {f"model {number}": np.full((3, 6, 6), 1 / 6) for number in range(models)}
    attention.picture(path, matrices, locality_mask(6).numpy(), "uniform attention")
    assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["alignment.doc", "alignment"])
def test_pictures_of_unknown_format_are_refused(tmp_path, capsys, name):
    file = tmp_path / name
    said = error_of(capsys, "tools.attention", "model.pt", "--dataset", "IAS", "--out", file)
    assert "FILE.pdf, .png or .svg" in said and f"found '{file}'" in said
    assert not file.exists()


def test_a_model_of_another_data_set_is_refused(ias, drawn, tmp_path, write_dataset, capsys):
    """BIWI has the same joints."""
    write_dataset(tmp_path / "data", "BIWI", 6, 4, 5, np.random.RandomState(1))
    assert run("train_age", *ias, *SMALL, "--out", tmp_path / "out") == 0
    model = tmp_path / "out/AGE/IAS/LA/encoder/best.pt"
    said = error_of(capsys, "tools.attention", model, "--dataset", "BIWI", "--data",
                    tmp_path / "data")
    assert f"{model}: expected dataset BIWI, found IAS" in said


def test_attention_near_its_target():
    uniform = torch.full((3, 6, 6), 1 / 6)
    for target in ("reverse", "same"):
        # Two frames for the first and the last step, three for the four others.
        np.testing.assert_allclose(attention.near_target(uniform, target), 16 / 36, rtol=1e-6)
    perfect = torch.eye(6).flip(1).expand(3, 6, 6)
    assert attention.near_target(perfect, "reverse").tolist() == [1, 1, 1]
    assert locality_mask(6).argmax(dim=1).tolist() == [5, 4, 3, 2, 1, 0]


def test_bad_input(ias, drawn, tmp_path, capsys):
    def train(*arguments):
        assert run("train_age", *ias, *SMALL, "--out", tmp_path / "out", *arguments) == 0

    train()
    train("--attention", "BA", "--target", "same")
    models = [tmp_path / f"out/AGE/IAS/{name}/encoder/best.pt" for name in ("LA", "BA_same")]
    assert "expected target reverse, found same" in error_of(capsys, "tools.attention", *models,
                                                             *ias)
    train("--attention", "none")
    model = tmp_path / "out/AGE/IAS/none/encoder/best.pt"
    assert "expected a model with attention" in error_of(capsys, "tools.attention", model, *ias)
    assert "unknown test split 'C'" in error_of(capsys, "tools.attention", models[0], *ias,
                                                "--probe", "C")
    assert "no checkpoint at" in error_of(capsys, "tools.attention", tmp_path / "none.pt", *ias)
    assert not drawn.keys() - {"alignment.png"}
