"""What train_age.py and train_smsge.py both refuse, in one line: options, data, checkpoints of
other runs.
"""

import numpy as np
import pytest
from commands import error_of

from skeleton_reid import data
from skeleton_reid.data.layouts import layouts


@pytest.fixture(params=["AGE", "SM-SGE"])
def train(request, training):
    """train(*arguments): run the script of a method on a small IAS and return its results."""
    return training(request.param)


@pytest.mark.parametrize(("arguments", "message"),
                         [(("--split", "C"), "unknown probe 'C' for IAS"),
                          (("--task", "naming"), "invalid choice: 'naming'"),
                          (("--length", 4), "no IAS data of length 4"),
                          (("--data", "nowhere"), "python -m data.simulate --dataset IAS"),
                          (("--epochs", 0), "at least 1"), (("--patience", 0), "at least 1"),
                          (("--device", "abacus"), "unknown device 'abacus'"),
                          (("--view", 3), "IAS has no views"),
                          (("--view", 3, "--probe", "A"), "leave out --probe"),
                          (("--balance", "--batch_size", 3), "persons <= batch size <= windows"),
                          (("--resume",), "no checkpoint at"),
                          (("--mode", "Eval"), "no checkpoint at"),
                          (("--mode", "Eval", "--task", "retrieval"), "no checkpoint at")])
def test_wrong_use(train, capsys, arguments, message):
    assert message in train.error(capsys, *arguments)


@pytest.mark.parametrize("script", ["train_age", "train_smsge"])
def test_casia_b_recognition_needs_a_view(tmp_path, capsys, script):
    words = ("--task", "recognition", "--out", tmp_path, "--quiet")
    message = error_of(capsys, script, "--dataset", "CASIA_B", *words)
    assert "needs --view 0 to 10; or --task retrieval" in message


@pytest.mark.parametrize(("train", "task", "name"), [("AGE", "retrieval", "probe"),
                                                     ("SM-SGE", "retrieval", "probe"),
                                                     ("SM-SGE", "recognition", "test")],
                         indirect=["train"])
def test_tests_smaller_than_a_released_batch_are_refused_before_training(train, capsys, task, name):
    words = ("--protocol", "released", "--task", task, "--batch_size", 50)
    assert f"the {name} set has only" in train.error(capsys, *words)
    assert not list(train.out.rglob("*.pt"))


def test_unknown_persons_are_refused(train, capsys):
    train("--epochs", 1)
    row = data.datasets.get("IAS")
    test_b = layouts(row, 6, train.data)[0].part("B")
    labels = np.load(test_b.frame_id)
    np.save(test_b.frame_id, np.where(labels == 4, 77, labels))
    message = train.error(capsys)
    assert "test split B" in message and "labels 77" in message
    assert "labels 77" in train.evaluate_error(capsys, train.path("recogniser", "best_A.pt"))


@pytest.mark.parametrize(("train", "options"), [("AGE", {
    "decoder_input": ("--decoder_input", "previous"), "seed": ("--seed", 5),
    "centred": ("--centred",)
}), ("SM-SGE", {"loss": ("--loss", "MSE"), "seed": ("--seed", 5), "D_h": ("--D_h", 8)})],
                         indirect=["train"], ids=["AGE", "SM-SGE"])
def test_resume_with_other_settings_is_refused(train, capsys, options):
    train("--epochs", 1)
    before = train.path("encoder", "last.pt").read_bytes()
    for name, words in options.items():
        assert f"made with {name} = " in train.error(capsys, "--resume", "--epochs", 1, *words)
        assert train.path("encoder", "last.pt").read_bytes() == before


def test_checkpoints_of_other_data_are_refused(train, write_dataset, capsys):
    train("--epochs", 1)
    write_dataset(train.data, "KS20", 6, 5, 4, np.random.RandomState(0))
    write_dataset(train.data, "IAS", 4, 5, 4, np.random.RandomState(0))
    encoder, recogniser = train.path("encoder", "best.pt"), train.path("recogniser", "best_A.pt")
    words = {
        recogniser: "persons of IAS, found --dataset KS20", encoder: "20 joints, these data have 25"
    }
    for path in (recogniser, encoder):
        message = train.evaluate_error(capsys, path, "--probe", "probe", dataset="KS20")
        assert words[path] in message
        message = train.evaluate_error(capsys, path, "--probe", "A", "--length", 4)
        assert "trained with f = 6, found --length 4" in message
    assert "unknown test split 'C'" in train.evaluate_error(capsys, recogniser, "--probe", "C")
    ks20 = (train.out / train.method / "KS20" / f"{train.path().name}_retrieval" / "encoder"
            / "best.pt")
    ks20.parent.mkdir(parents=True)
    ks20.write_bytes(encoder.read_bytes())
    message = train.error(capsys, "--task", "retrieval", "--mode", "Eval", dataset="KS20")
    assert "20 joints, these data have 25" in message


def test_wrong_checkpoints_are_refused(train, capsys):
    train("--epochs", 1)
    path, encoder = train.path("recogniser", "best_A.pt"), train.path("encoder", "best.pt")
    path.write_bytes(encoder.read_bytes())
    assert "holds an encoder alone" in train.error(capsys, "--mode", "Eval")
    path.write_bytes(path.read_bytes()[:1000])
    assert "truncated or damaged" in train.error(capsys, "--mode", "Eval")
    retrieval = train.path().with_name(f"{train.path().name}_retrieval") / "encoder" / "best.pt"
    retrieval.parent.mkdir(parents=True)
    retrieval.write_bytes(encoder.read_bytes()[:1000])
    assert "truncated or damaged" in train.error(capsys, "--mode", "Eval", "--task", "retrieval")


def test_diverging_training_is_reported(train, capsys):
    assert "training diverged" in train.error(capsys, "--lr", 1e30, "--epochs", 2)
