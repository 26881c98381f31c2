"""Published checkpoints through evaluate.py: the released code's metrics, recognition of kinds,
settings, export.

Whole checkpoints are too large for the repository: those tests look for ../shared/golden and are
skipped without it.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import tf_writer
import torch
from archives import unpack
from commands import error_of, results_of
from test_age import h32_weights
from test_smsge import Golden
from training import RETRIEVAL, pick

from skeleton_reid.data import load, load_recognition
from skeleton_reid.engine import retrieval
from skeleton_reid.engine.encoding import encode_set
from skeleton_reid.engine.published import detect
from skeleton_reid.models.age import AGE, AXES, concatenated
from skeleton_reid.models.recognition import RecognitionNetwork
from skeleton_reid.models.sgela import SGELA
from skeleton_reid.models.smsge import SMSGE
from skeleton_reid.reid import recognition
from skeleton_reid.tensorflow_v1.bundle import masked_crc32c
from tests.reference.age import weights_of

SHARED = Path(__file__).parents[2] / "shared" / "golden"


def shared(name: str) -> Path:
    """A folder of released runs; skips the test where it is not."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"no released run at {SHARED / name}")
    return SHARED / name


def evaluate(*arguments):
    """The JSON metrics of evaluate.py."""
    return results_of("evaluate", "--quiet", *arguments)


def test_simmc_checkpoint_that_tensorflow_wrote(tmp_path):
    folder = shared("tf_simmc_KS20")
    unpack(folder / "Datasets_KS20.tar.gz", tmp_path)
    released = json.loads((folder / "metrics.json").read_text())
    data = ("--dataset", "KS20", "--data", tmp_path / "Datasets", "--protocol", "released")
    found = evaluate("--checkpoint", folder / "model" / "best.ckpt", *data, "--export",
                     tmp_path / "own.pt")
    for ours, theirs in (("top1", "top_1"), ("top5", "top_5"), ("top10", "top_10"), ("mAP", "mAP")):
        assert found[ours] == pytest.approx(released[theirs], abs=1e-6)
    assert (found["probes"], found["gallery"]) == (256, 256)
    again = evaluate("--checkpoint", tmp_path / "own.pt", *data)
    assert again == found


def test_smsge_recogniser_of_a_released_run(tmp_path):
    folder = shared("smsge_trained_KS20")
    unpack(folder / "data.tar.gz", tmp_path)
    with np.load(folder / "trainable.npz") as file:
        names = zip(file["names"].tolist(), file["tf_names"].tolist(), strict=True)
        variables = {tf.removesuffix(":0"): file[name] for name, tf in names}
    prefix = tmp_path / "RN" / "KS20_formal.ckpt"
    tf_writer.write(prefix, variables, shards=2, per_block=50, checksum=masked_crc32c)
    data = ("--dataset", "KS20", "--data", tmp_path / "data" / "Datasets", "--protocol", "released")
    released = json.loads((folder / "metrics.json").read_text())
    found = evaluate("--checkpoint", prefix, *data, "--export", tmp_path / "own.pt")
    expect_recognition(found, released["sum_of_7_prefixes"])
    assert sum(map(sum, found["confusion"])) == released["n_used"]
    assert evaluate("--checkpoint", tmp_path / "own.pt", *data) == found
    fewer = evaluate("--checkpoint", prefix, *data, "--set", "prefixes=f")
    expect_recognition(fewer, released["sum_of_6_prefixes_same_weights"])


def expect_recognition(found, released):
    assert found["rank1"] == pytest.approx(released["rank1"], abs=1e-6)
    assert found["rank"]["5"] == pytest.approx(released["rank5"], abs=1e-6)
    assert found["rank"]["10"] == pytest.approx(released["rank10"], abs=1e-6)
    assert found["nAUC_roc"] == pytest.approx(released["nAUC"], abs=1e-4)
    assert found["loss"] == pytest.approx(released["ce"], abs=1e-4)


@pytest.fixture(scope="module")
def age(golden):
    """The golden file's encoders, x/..., y/..., z/..., and its recognition networks by manner."""
    with np.load(golden("age_h32.npz")) as file:
        encoders = h32_weights(dict(file))
    with np.load(golden("rn_h32.npz")) as file:
        networks = {
            m: {name: file[f"rn_{m}/w/{name}"] for name in ("W1", "b1", "W")}
            | {"Variable": file[f"rn_{m}/w/b"]} for m in ("ap", "sc")
        }
    return encoders, networks


def write_encoders(folder: Path, encoders, stem="IAS_LA") -> Path:
    """The three checkpoints in the authors' folders. Returns the path without _x, _y, _z."""
    for axis in AXES:
        own = {name[2:]: array for name, array in encoders.items() if name.startswith(axis)}
        own["learning_rate"] = own["memory_layer/kernel/Adam"] = np.zeros(3, np.float32)
        tf_writer.write(folder / "Gait_Encoding_models" / f"{stem}_{axis}" / "trained_model.ckpt",
                        own)
    return folder / "Gait_Encoding_models" / stem


def write_recogniser(folder: Path, network, manner: str) -> Path:
    prefix = folder / "AGEs_RN_models" / f"IAS_LA_RN_{manner}" / "trained_model.ckpt"
    tf_writer.write(prefix, {**network, "W1/Adam3_1": network["W1"]})
    return prefix


@pytest.fixture
def data(tmp_path, write_dataset):
    """A random IAS of 11 persons; the arguments that name it."""
    write_dataset(tmp_path / "Datasets", "IAS", 6, persons=11, windows=3,
                  rng=np.random.RandomState(5))
    return "--dataset", "IAS", "--data", tmp_path / "Datasets"


@pytest.mark.parametrize("manner", ["ap", "sc"])
def test_age_recogniser_with_its_encoders(manner, tmp_path, data, age):
    """Against the model put together by hand, on skeletons as stored."""
    encoders, networks = age
    stem, prefix = (write_encoders(tmp_path,
                                   encoders), write_recogniser(tmp_path, networks[manner], manner))
    found = evaluate("--checkpoint", prefix, *data, "--export", tmp_path / "own.pt")
    test = load_recognition("IAS", "B", root=tmp_path / "Datasets", centred=False,
                            balance=False).tests["B"]
    with torch.no_grad():
        rows = AGE.from_published(encoders).encode(torch.from_numpy(test.skeletons))["encodings"]
        rows = concatenated(rows) if manner == "sc" else rows
        logits = RecognitionNetwork.from_published(networks[manner])(rows)
    expected = recognition.evaluate(logits if manner == "sc" else logits.mean(dim=1), test.labels)
    assert found["tests"]["B"]["rank"] == expected["rank"]
    assert found["tests"]["B"]["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["rank1"] == found["tests"]["A"]["rank1"]
    assert evaluate("--checkpoint", tmp_path / "own.pt", *data) == found
    moved = stem.parent.rename(tmp_path / "elsewhere") / stem.name
    assert evaluate("--checkpoint", prefix, *data, "--encoder", moved) == found


def test_recogniser_of_rev_rec_plus(tmp_path, data):
    """As released, on the features of the first encoder, three times side by side."""
    generator = torch.Generator().manual_seed(0)
    encoder, network = SGELA(20, 8, generator=generator), RecognitionNetwork(72, 11, 8, generator)
    stem = write_encoders(tmp_path, weights_of(encoder), "IAS_LA")
    kernels = [parameter.detach().numpy().T for parameter in network.parameters()]
    folder = tmp_path / "CAGEs_RN_models" / "IAS_RN_ap_6_0.1_0pre_rev_rec_plus"
    tf_writer.write(folder / "A_trained_model.ckpt",
                    dict(zip(("W1", "b1", "W", "Variable"), kernels, strict=True)))
    found = evaluate("--checkpoint", folder / "A_trained_model.ckpt", *data, "--encoder", stem)
    test = load_recognition("IAS", "A", root=tmp_path / "Datasets", centred=False,
                            balance=False).tests["A"]
    with torch.no_grad():
        contexts = encoder.encode(torch.from_numpy(test.skeletons))["contexts"]
        rows = torch.cat([contexts] * 3, dim=3).permute(1, 2, 0, 3).flatten(2)
        expected = recognition.evaluate(network(rows).mean(dim=1), test.labels)
    assert found["tests"]["A"]["rank"] == expected["rank"]
    assert found["tests"]["A"]["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_age_encoders_are_scored_by_retrieval(tmp_path, data, age):
    stem = write_encoders(tmp_path, age[0])
    model = AGE.from_published(age[0])
    sets = load("IAS", "B", 6, tmp_path / "Datasets", centred=False, train=False)
    expected = retrieval.score(sets, encode_set(model, sets.probe.skeletons),
                               encode_set(model, sets.gallery.skeletons), "full")
    for name in (stem, stem.with_name("IAS_LA_y"),
                 stem.with_name("IAS_LA_z") / "trained_model.ckpt.index"):
        found = evaluate("--checkpoint", name, *data, "--probe", "B")
        assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("manner", ["ap", "sc"])
def test_age_recogniser_on_the_rows_kept_beside_it(manner, tmp_path, golden, age):
    """What the released evaluate.py prints, without data and encoders: whole batches of 128 rows,
    or of 32.
    """
    prefix = write_recogniser(tmp_path, age[1][manner], manner)
    with np.load(golden("rn_h32.npz")) as file:
        released = {name: file[name] for name in file.files if name.startswith(f"rn_{manner}/eval")}
    with np.load(golden("rn_h32_rows.npz")) as file:
        rows = file[f"rn_{manner}/eval/X"]
    labels = np.eye(11, dtype=np.int64)[released[f"rn_{manner}/eval/labels"]]
    for name, order in (("val", slice(None)), ("val_2",
                                               slice(None, None, -1 if manner == "sc" else 1))):
        np.save(prefix.with_name(f"{name}_X.npy"), rows[order])
        np.save(prefix.with_name(f"{name}_y.npy"), labels[order])
    data = ("--dataset", "IAS", "--protocol", "released")
    for size in (128, 32):
        found = evaluate("--checkpoint", prefix, *data, "--batch_size", size)
        for test, printed in (("A", ""), ("B", "printed_IAS_B_")):
            expected = float(released[f"rn_{manner}/eval/{printed}nAUC_batch{size}"])
            assert found["tests"][test]["nAUC_roc"] == pytest.approx(expected, abs=1e-6)
        # For B in sc the released code prints A's Rank-1.
        assert found["rank1"] == pytest.approx(
            float(released[f"rn_{manner}/eval/rank1_batch{size}"]), abs=1e-6)
    whole = evaluate("--checkpoint", prefix, "--dataset", "IAS")
    assert sum(map(sum, whole["confusion"])) == len(rows) // (6 if manner == "ap" else 1)


@pytest.fixture(scope="module")
def smsge(golden):
    """SM-SGE's variables in the golden file for IAS, those of a pre-trained encoder: its recogniser
    is not in use.
    """
    return Golden(golden("smsge_IAS.npz")).variables


def finished(variables) -> dict[str, np.ndarray]:
    """The same after the recogniser's training: a second network, with other weights than the
    first.
    """
    name = "Recognition/Recognition/Variable"
    first = [variables[name], *(variables[f"{name}_{n}"] for n in (1, 2, 3))]
    rng = np.random.RandomState(2)
    second = {
        f"{name}_{n}": rng.normal(size=w.shape).astype(np.float32) for n, w in enumerate(first, 4)
    }
    slots = {f"{name}_4/Adam": first[0], "Recognition/Recognition/beta1_power_1": np.float32(0.9)}
    return {**variables, **second, **slots}


def test_smsge_recogniser_and_its_settings(tmp_path, data, smsge):
    """Against the model put together by hand: every prefix counts, the last alone with --set
    last_pre=1.
    """
    variables, prefix = finished(smsge), tmp_path / "RN" / "IAS-A_formal.ckpt"
    words = {"words": np.zeros(2, np.float32)}  # strings, which are left out
    tf_writer.write(prefix, variables | words, shards=3, per_block=40, dtypes={"words": 7})
    model, network = (SMSGE.from_published(variables, fusion_lambda=0.5),
                      RecognitionNetwork.from_published(variables))
    test = load_recognition("IAS", "A", root=tmp_path / "Datasets", balance=False).tests["A"]
    with torch.no_grad():
        graphs = model.graphs(torch.from_numpy(test.skeletons))
        logits = {k: network(model.states(graphs, k)) for k in (6, 7)}
    for given, scores in ((("prefixes=f+1", "fusion_lambda=0.5"),
                           logits[7].sum(dim=1)), (("fusion_lambda=0.5",), logits[6].sum(dim=1)),
                          (("fusion_lambda=0.5", "last_pre=1"), logits[6][:, -1])):
        found = evaluate("--checkpoint", prefix, *data, "--set", *given, "--export",
                         tmp_path / "own.pt")
        expected = recognition.evaluate(scores, test.labels)
        assert found["rank"] == expected["rank"]
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert evaluate("--checkpoint", tmp_path / "own.pt", *data) == found


def test_pre_trained_smsge_is_scored_by_retrieval(tmp_path, data, smsge, capsys):
    tf_writer.write(tmp_path / "Pre-Trained" / "IAS_formal.ckpt", smsge)
    found = evaluate("--checkpoint", tmp_path / "Pre-Trained", *data, "--probe", "B")
    model = SMSGE.from_published(smsge)
    sets = load("IAS", "B", 6, tmp_path / "Datasets", train=False)
    expected = retrieval.score(sets, encode_set(model, sets.probe.skeletons),
                               encode_set(model, sets.gallery.skeletons), "full")
    assert found["method"] == "SM-SGE" and {key: found[key] for key in expected} == expected
    words = ("--checkpoint", tmp_path / "Pre-Trained", *data, "--positions", "positions.npy")
    assert "--positions goes with TranSG and MoCos" in error_of(capsys, "evaluate", *words)


def test_an_exported_simmc_is_scored_by_the_training_script(tmp_path, write_dataset):
    rng = np.random.RandomState(4)
    write_dataset(tmp_path / "Datasets", "KS20", 6, persons=4, windows=3, rng=rng)
    shapes = {
        "dense/kernel": (75, 16), "dense/bias": 16, "dense_1/kernel": (16, 16), "dense_1/bias": 16
    }
    shapes |= {
        "SimMC/Variable": (16, 16), "SimMC/Variable_1": 16, "SimMC/SimMC/Variable/Adam": (16, 16)
    }
    variables = {
        f"SimMC/{name}": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    tf_writer.write(tmp_path / "best.ckpt", variables)
    common = ("--dataset", "KS20", "--data", tmp_path / "Datasets", "--probe", "probe")
    own = tmp_path / "out" / "KS20" / "probe" / "best.pt"
    found = evaluate("--checkpoint", tmp_path / "best.ckpt.data-00000-of-00001", *common,
                     "--export", own)
    again = results_of("train_simmc", *common, "--mode", "Eval", "--out", tmp_path / "out",
                       "--quiet")
    names = (*RETRIEVAL, "probes", "gallery")
    assert pick(again, names) == pick(found, names)


def test_kinds_are_detected_by_their_variables(smsge, age):
    encoders, networks = age
    assert detect(smsge) == "SM-SGE"
    assert detect(finished(smsge)) == "SM-SGE recogniser"
    assert detect({name[2:]: a for name, a in encoders.items() if name[0] == "x"}) == "AGE"
    assert detect(networks["ap"]) == "AGE recogniser"
    simmc = ("SimMC/dense/kernel", "SimMC/dense_1/kernel", "SimMC/SimMC/Variable",
             "SimMC/SimMC/Variable_1")
    assert detect(dict.fromkeys(simmc)) == "SimMC"
    assert detect(dict.fromkeys(simmc[:3])) is None


def test_what_cannot_be_done_is_refused_in_one_line(tmp_path, data, write_dataset, smsge, age,
                                                    capsys):
    def error(name, *arguments, data=data):
        return error_of(capsys, "evaluate", "--checkpoint", tmp_path / name, *data, *arguments)

    foreign = {f"layer_{n}/weights": np.zeros((n, 2), np.float32) for n in range(12)}
    tf_writer.write(tmp_path / "foreign.ckpt", {**foreign, "global_step": np.int64(3)})
    shown = "found 12 variables: layer_0/weights [0, 2], layer_1/weights [1, 2]"
    assert shown in error("foreign.ckpt")
    tf_writer.write(tmp_path / "smsge.ckpt", finished(smsge))
    write_dataset(tmp_path / "Datasets", "KS20", 6, persons=11, windows=2,
                  rng=np.random.RandomState(5))
    write_dataset(tmp_path / "few", "IAS", 6, persons=10, windows=2, rng=np.random.RandomState(5))
    other = ("--dataset", "KS20", "--data", tmp_path / "Datasets")
    assert "frames of 20 joints, these data have 25" in error("smsge.ckpt", data=other)
    few = ("--dataset", "IAS", "--data", tmp_path / "few")
    assert "recognises 11 persons, these data have 10" in error("smsge.ckpt", data=few)
    assert "expected for SM-SGE prefixes=f|f+1, fusion_lambda=NUMBER" in error(
        "smsge.ckpt", "--set", "prefix=f")
    assert "prefixes=f|f+1" in error("smsge.ckpt", "--set", "prefixes=g")
    assert "unknown test split 'C'" in error("smsge.ckpt", "--split", "C")
    file = tmp_path / "smsge.ckpt.data-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-5000])
    assert "truncated" in error("smsge.ckpt")
    prefix = write_recogniser(tmp_path, age[1]["ap"], "ap").relative_to(tmp_path)
    assert "name its encoders with --encoder" in error(prefix)
    assert "--export needs the encoders" in error(prefix, "--export", tmp_path / "own.pt")
    (tmp_path
     / prefix.with_name("val_X.npy")).write_text("version https://git-lfs.github.com/spec/v1")
    (tmp_path
     / prefix.with_name("val_y.npy")).write_text("version https://git-lfs.github.com/spec/v1")
    assert "a Git LFS pointer?" in error(prefix)
    stem = write_encoders(tmp_path, age[0])
    for file in stem.with_name("IAS_LA_y").iterdir():
        file.unlink()
    assert "AGE has encoders of x, y and z, found none in" in error(prefix)
    (tmp_path / "own.pt").write_bytes(b"nothing")
    assert "--set goes with a TensorFlow checkpoint" in error("own.pt", "--set", "centred=1")
    assert "no checkpoint at" in error("lost.ckpt")


def test_mgscr_of_a_released_run(tmp_path):
    """The checkpoint that TensorFlow wrote, on the frames that it was trained on."""
    folder = shared("mgscr_trained_KS20")
    unpack(shared("smsge_trained_KS20") / "data.tar.gz", tmp_path)
    data = ("--dataset", "KS20", "--data", next(tmp_path.rglob("Datasets")))
    words = ("--checkpoint", folder / "model" / "best_model.ckpt", *data, "--batch_size", 48)
    found = evaluate(*words, "--protocol", "released", "--export", tmp_path / "own.pt")
    released = json.loads((folder / "metrics.json").read_text())
    assert found["rank1"] == pytest.approx(released["accuracy"], abs=1e-6)
    assert found["loss"] == pytest.approx(released["loss"], abs=1e-4)
    assert found["nAUC_roc"] == pytest.approx(released["nAUC"], abs=1e-4)
    again = evaluate("--checkpoint", tmp_path / "own.pt", *data, "--protocol", "released")
    assert again["confusion"] == found["confusion"]
    assert evaluate(*words)["rank1"] != found["rank1"]  # in order


@pytest.mark.parametrize("test", ["A", "B"])
def test_sgela_of_a_released_run(test, tmp_path):
    """Encoders and recognisers of the checkpoints that TensorFlow wrote."""
    folder = shared("tf_sgela_IAS")
    unpack(SHARED / "golden_sgela_dev_run_Datasets.tar.gz", tmp_path)
    released = json.loads((folder / "metrics.json").read_text())[test]
    prefix = folder / "IAS_LA_RN_ap_6_0.1_0pre_rev_rec" / f"{test}_trained_model.ckpt"
    data = ("--dataset", "IAS", "--data", tmp_path / "Datasets", "--probe", test)
    found = evaluate("--checkpoint", prefix, *data, "--protocol", "released", "--batch_size", 32)
    assert found["rank1"] == pytest.approx(released["rank1"], abs=1e-6)
    assert found["nAUC_roc"] == pytest.approx(released["nAUC_roc"], abs=1e-4)
    encoder = folder / "IAS_LA_x_6_0.1_0pre_rev_rec" / "trained_model.ckpt"
    assert evaluate("--checkpoint", encoder, *data)["kind"] == "retrieval"
