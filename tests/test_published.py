"""Published checkpoints through evaluate.py: the released code's figures, recognition of kinds, settings, export.

Whole checkpoints are too large for the repository: those tests look for ../shared/golden and are skipped without it.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tf_writer
from commands import run

from reid.published.crc32c import masked_crc32c

SHARED = Path(__file__).parents[2] / "shared" / "golden"


def shared(name: str) -> Path:
    """A folder of released runs; skips the test where it is not."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"no released run at {SHARED / name}")
    return SHARED / name


def evaluate(folder, *arguments):
    """The JSON figures of evaluate.py."""
    file = folder / "figures.json"
    assert run("evaluate", "--quiet", "--json", file, *arguments) == 0
    return json.loads(file.read_text())


def test_simmc_checkpoint_that_tensorflow_wrote(tmp_path):
    folder = shared("tf_simmc_KS20")
    with tarfile.open(folder / "Datasets_KS20.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    released = json.loads((folder / "metrics.json").read_text())
    data = ("--dataset", "KS20", "--data", tmp_path / "Datasets", "--protocol", "released")
    found = evaluate(
        tmp_path, "--checkpoint", folder / "model" / "best.ckpt", *data, "--export", tmp_path / "own.pt"
    )
    for ours, theirs in (("top1", "top_1"), ("top5", "top_5"), ("top10", "top_10"), ("mAP", "mAP")):
        assert found[ours] == pytest.approx(released[theirs], abs=1e-6)
    assert (found["probes"], found["gallery"]) == (256, 256)
    again = evaluate(tmp_path, "--checkpoint", tmp_path / "own.pt", *data)
    assert again == found


def test_smsge_recogniser_of_a_released_run(tmp_path):
    folder = shared("smsge_trained_KS20")
    with tarfile.open(folder / "data.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    with np.load(folder / "trainable.npz") as file:
        names = zip(file["names"].tolist(), file["tf_names"].tolist(), strict=True)
        variables = {tf.removesuffix(":0"): file[name] for name, tf in names}
    prefix = tmp_path / "RN" / "KS20_formal.ckpt"
    tf_writer.write(prefix, variables, shards=2, per_block=50, checksum=masked_crc32c)
    data = ("--dataset", "KS20", "--data", tmp_path / "data" / "Datasets", "--protocol", "released")
    released = json.loads((folder / "metrics.json").read_text())
    found = evaluate(tmp_path, "--checkpoint", prefix, *data, "--export", tmp_path / "own.pt")
    expect_recognition(found, released["sum_of_7_prefixes"])
    assert sum(map(sum, found["confusion"])) == released["n_used"]
    assert evaluate(tmp_path, "--checkpoint", tmp_path / "own.pt", *data) == found
    fewer = evaluate(tmp_path, "--checkpoint", prefix, *data, "--set", "prefixes=f")
    expect_recognition(fewer, released["sum_of_6_prefixes_same_weights"])


def expect_recognition(found, released):
    assert found["rank1"] == pytest.approx(released["rank1"], abs=1e-6)
    assert found["rank"]["5"] == pytest.approx(released["rank5"], abs=1e-6)
    assert found["rank"]["10"] == pytest.approx(released["rank10"], abs=1e-6)
    assert found["nAUC_roc"] == pytest.approx(released["nAUC"], abs=1e-4)
    assert found["loss"] == pytest.approx(released["ce"], abs=1e-4)
