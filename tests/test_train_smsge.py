"""train_smsge.py: what its training does, its options, the released protocol; test_two_phases.py
has the rest.
"""

import numpy as np
import pytest
import torch
from training import RECOGNITION, history, pick, same, without_time

from skeleton_reid.data.sampling import class_balanced, training_order
from skeleton_reid.engine import features
from skeleton_reid.engine.encoding import encode_frames, encode_rows, encode_set
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.methods.smsge import SMSGESettings
from skeleton_reid.models.smsge import SMSGE


@pytest.fixture
def train(training):
    """train(*arguments): run the script on IAS, 5 persons with 4 windows each, and return its
    results.
    """
    return training("SM-SGE")


def test_training_learns(train):
    """The losses of every scale fall, and the states tell the persons of the test windows apart."""
    result = train("--pre_epochs", 15, "--recognition_epochs", 40, "--D_h", 16)
    rows = train.history("encoder")
    assert set(rows[0]) == {"epoch", "loss_I", "loss_J", "loss_P", "loss_B"}
    for scale in "IJPB":
        assert float(rows[-1][f"loss_{scale}"]) < 0.95 * float(rows[0][f"loss_{scale}"])
    found = [metrics["last"]
             for metrics in result["tests"].values()]  # of A and B, 20 windows of 5 persons each
    assert np.mean([metrics["rank1"] for metrics in found]) > 0.3
    assert np.mean([metrics["nAUC_roc"] for metrics in found]) > 0.6


# The two phases


def test_each_phase_has_epochs_of_its_own(train):
    result = train("--epochs", 4, "--pre_epochs", 1, "--recognition_epochs", 2)
    assert len(train.history("encoder")) == 1
    assert result["last"]["epoch"] == len(train.history("recogniser")) == 2


def test_reloaded_encoder_gives_the_same_recogniser(train):
    whole = train("--epochs", 2)
    path = train.path("encoder", "best.pt")
    before = path.read_bytes()
    assert without_time(train("--epochs", 2, "--pre_train", 0)) == without_time(whole)
    assert path.read_bytes() == before
    # Another setting of the recogniser, and of the training of an encoder, which is not trained.
    other = train("--epochs", 2, "--pre_train", 0, "--last_pre", "--batch_size", 10)
    assert path.read_bytes() == before
    assert other["last"]["loss"] != whole["last"]["loss"]
    assert other["retrieval"]["mAP"] == whole["retrieval"]["mAP"]


def test_reloaded_encoder_has_the_same_retrieval_metrics(train):
    retrieval = ("--task", "retrieval", "--epochs", 2)
    metrics = train(*retrieval)
    assert without_time(train(*retrieval, "--pre_train", 0)) == without_time(metrics)


def test_split_b_on_the_encoder_of_a(train):
    """Each split has a recogniser of its own, so that Eval finds the one of its setting."""
    first = train("--epochs", 2)
    second = train("--epochs", 2, "--split", "B", "--pre_train", 0, "--batch_size", 10)
    assert (second["probe"], second["best"]) == ("B", second["tests"]["B"]["best"])
    for split, result in (("A", first), ("B", second)):
        evaluated = train("--mode", "Eval", "--split", split)
        assert evaluated["tests"] == {name: test["best"] for name, test in result["tests"].items()}


def test_patience_ends_the_recogniser(train):
    """With a learning rate at which the loss only jumps about."""
    training = ("--pre_epochs", 1, "--recognition_epochs", 60, "--recognition_lr", 1.0)
    stopped = train(*training, "--patience", 2)["last"]["epoch"]
    assert 2 < stopped < 60
    assert train(*training)["last"]["epoch"] == 60


def test_save_flag(train, capsys):
    kept = train("--epochs", 2)
    for path in train.path("recogniser").glob("*.pt"):
        path.unlink()
    assert without_time(train("--epochs", 2, "--save_flag", 0)) == without_time(kept)
    assert [path.name for path in train.path("recogniser").glob("*.pt")] == ["last.pt"]
    assert "no checkpoint at" in train.error(capsys, "--mode", "Eval")


# Options


@pytest.mark.parametrize(("option", "value"), [("--last_pre", 1), ("--prefixes", "f+1"),
                                               ("--recognition_lr", 0.1)])
def test_settings_of_the_recogniser_leave_the_encoder_alone(train, once, option, value):
    before, plain = once("SM-SGE", "--epochs", 2)
    changed = train("--epochs", 2, option, value)
    assert same(train.weights("encoder"), before.weights("encoder"))
    assert changed["last"]["loss"] != plain["last"]["loss"]
    assert changed["retrieval"] == plain["retrieval"]
    own = (option, value) if option == "--recognition_lr" else ()  # over the small run's
    evaluated = train("--mode", "Eval", *own)  # knows what the recogniser is given
    assert pick(evaluated, RECOGNITION) == changed["best"]


def test_switches_need_no_value(train, once):
    bare, with_1 = (train("--epochs", 1, "--bi", *value) for value in ((), (1,)))
    assert bare["settings"]["bi"] == 1
    assert without_time(bare) == without_time(with_1)
    assert without_time(train("--epochs", 1, "--bi",
                              0)) == without_time(once("SM-SGE", "--epochs", 1)[1])


def test_single_level_is_a_weight_of_zero(train):
    single = train("--epochs", 1, "--single_level")
    assert single["settings"]["fusion_lambda"] == 0
    assert without_time(single) == without_time(train("--epochs", 1, "--fusion_lambda", 0))


def test_scales_have_their_own_folder(train, tmp_path):
    train("--epochs", 1)
    before = train.path("encoder", "best.pt").read_bytes()
    result = train("--epochs", 2, "--scales", "BJ", "--save_features", tmp_path / "f.npz")
    assert result["settings"]["scales"] == "JB"
    assert train.path("encoder", "best.pt").read_bytes() == before
    where = train.path().with_name("JB")
    assert set(history(where / "encoder" / "history.csv")[0]) == {"epoch", "loss_J", "loss_B"}
    assert features.read(tmp_path / "f.probe.npz").frames.shape == (20, 6, 2 * 4)
    assert train.evaluate(where / "recogniser_A" / "best_A.pt")["loss"] == result["best"]["loss"]


@pytest.mark.parametrize(("key", "protocol", "expected"),
                         [(("KS20", "probe"), "full", (64, 256, 0.0005, 200, 0.0025)),
                          (("IAS", "A"), "full", (128, 256, 0.0025, 120, 0.0025)),
                          (("IAS", "B"), "full", (64, 256, 0.0025, 120, 0.0025)),
                          (("IAS", "A"), "released", (64, 256, 0.0025, 120, 0.0025)),
                          (("KGBD", "probe"), "full", (256, 128, 0.0025, 160, 0.0025)),
                          (("BIWI", "Walking"), "full", (256, 256, 0.005, 120, 0.0025)),
                          (("CASIA_B", "test"), "full", (128, 256, 0.0005, 160, 0.0005)),
                          (("CASIA_B", "nm.nm"), "full", (128, 256, 0.0005, 200, 0.0005))])
def test_published_settings(key, protocol, expected):
    settings = METHODS["SM-SGE"].choose(protocol, *key, {})
    names = ("batch_size", "D_h", "lr", "pre_epochs", "recognition_lr")
    assert tuple(getattr(settings, name) for name in names) == expected
    released = protocol == "released"
    assert settings.subsets == ("fixed" if released else "resample")
    assert settings.prefixes == ("f+1" if released else "f")
    assert (settings.patience, settings.P, settings.fusion_lambda) == (100, 8, 1)


def test_kgbd_is_not_resampled(train, write_dataset):
    write_dataset(train.data, "KGBD", 6, 3, 7, np.random.RandomState(0))
    # 21 training and 21 gallery windows: two batches of 20 and one of 2.
    assert train("--epochs", 1, dataset="KGBD")["last"]["step"] == 3


def test_released_protocol(train):
    released = ("--protocol", "released", "--batch_size", 15)
    result = train("--epochs", 2, *released)
    assert (result["settings"]["subsets"], result["settings"]["prefixes"]) == ("fixed", "f+1")
    # Two rounds of 3 windows a person make two whole batches of 15; of 20 test windows one batch is
    # counted.
    assert result["last"]["step"] == 2 * 2
    assert np.sum(result["last"]["confusion"]) == 15
    assert (result["retrieval"]["probes"], result["retrieval"]["gallery"]) == (15, 15)
    assert pick(train(*released, "--mode", "Eval"), RECOGNITION) == result["best"]


def test_released_order_of_the_training_rows(train, write_dataset, monkeypatch):
    """KGBD is resampled too, and nothing is permuted."""
    write_dataset(train.data, "KGBD", 6, 3, 7, np.random.RandomState(0))
    orders = []

    def record(*arguments, **named):
        orders.append(training_order(*arguments, **named))
        return orders[-1]

    monkeypatch.setattr("train_smsge.training_order", record)
    train("--epochs", 1, "--protocol", "released", "--batch_size", 6, dataset="KGBD")
    labels = np.tile(np.repeat([0, 1, 2], 7), 2)  # of the training and the gallery windows
    expected = class_balanced(labels, 6, np.random.RandomState(0))
    np.testing.assert_array_equal(orders[0], expected)


# Features


def test_features_of_a_model():
    """Frame features are the states of the prefixes, the sequence's is the last; a recogniser can
    be given more.
    """
    model = SMSGE(20, 4, heads=1, hidden=4)
    skeletons = np.random.RandomState(0).normal(size=(3, 5, 20, 3)).astype(np.float32)
    with torch.no_grad():
        states = model.states(model.graphs(torch.from_numpy(skeletons)), 6)
    torch.testing.assert_close(encode_frames(model, skeletons), states[:, :5])
    torch.testing.assert_close(encode_set(model, skeletons), states[:, 4])
    for prefixes, number in (("f", 5), ("f+1", 6)):
        for last_pre in (0, 1):
            rows = encode_rows(model, skeletons, SMSGESettings(prefixes=prefixes,
                                                               last_pre=last_pre))
            torch.testing.assert_close(rows, states[:, (number - 1) * last_pre:number])


def test_reverse_reads_the_windows_backwards():
    forward, backward = (SMSGE(20, 4, heads=1, hidden=4, reverse=reverse)
                         for reverse in (False, True))
    skeletons = np.random.RandomState(0).normal(size=(3, 5, 20, 3)).astype(np.float32)
    turned = np.ascontiguousarray(skeletons[:, ::-1])
    assert torch.equal(encode_frames(backward, skeletons), encode_frames(forward, turned))
    assert SMSGE(**backward.arguments).reverse


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--loss", "l3"), "invalid choice: 'l3'"), (("--s_range", "f/3"), "invalid choice: 'f/3'"),
     (("--subsets", "often"), "invalid choice: 'often'"),
     (("--prefixes", "7"), "invalid choice: '7'"), (("--bi", 2), "invalid choice: 2"),
     (("--pre_train", 2), "invalid choice: 2"),
     (("--scales", "IX"), "invalid choice: 'XI' (choose from"),
     (("--scales", "JJ"), "invalid choice: 'JJ'"), (("--scales", ""), "invalid choice: ''"),
     (("--P", 0), "at least 1"), (("--n_hood", 0), "at least 1"),
     (("--sample_num", 0), "at least 1"),
     (("--fusion_lambda", -1), "expected a number of at least 0, found '-1'"),
     (("--fusion_lambda", "nan"), "expected a number of at least 0, found 'nan'"),
     (("--fusion_lambda", 0.5, "--single_level"), "use one of them"),
     (("--pred_margin", 6), "f = 6 frames, 6 predicted ahead"),
     (("--pred_margin", 7), "f = 6 frames, 7 predicted ahead"),
     (("--pred_margin", -1), "0 frames or more, found -1"),
     (("--length", 2, "--pred_margin", 3), "f = 2 frames, 3 predicted ahead"),
     (("--pred_margin", 1, "--s_range", "f"), "no subset"),
     (("--pred_margin", 1, "--bi"), "use one of them"),
     (("--length", 1, "--s_range", "f/2"), "no subset"),
     (("--batch_size", 64), "persons <= batch size <= windows"),
     (("--protocol", "released", "--batch_size", 64, "--no-balance"),
      "test set has only 20 sequences"), (("--pre_train", 0), "IJPB/encoder/best.pt")])
def test_wrong_use(train, capsys, arguments, message):
    assert message in train.error(capsys, *arguments)


def test_reloading_another_model_is_refused(train, write_dataset, capsys):
    train("--epochs", 1)
    for name, words in {"D_h": ("--D_h", 8), "heads": ("--P", 1),
                        "reverse": ("--reverse",)}.items():
        message = train.error(capsys, "--pre_train", 0, "--epochs", 1, *words)
        assert f"made with {name} = " in message
    write_dataset(train.data, "KS20", 6, 5, 4, np.random.RandomState(0))
    other = train.out / "SM-SGE" / "KS20" / "IJPB" / "encoder" / "best.pt"
    other.parent.mkdir(parents=True)
    other.write_bytes(train.path("encoder", "best.pt").read_bytes())
    assert "made with dataset = IAS" in train.error(capsys, "--pre_train", 0, dataset="KS20")
