"""The reader of TensorFlow checkpoints, against a slow writer, an index that TensorFlow wrote, and
damaged files.
"""

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tf_writer

from skeleton_reid.common.errors import InputError
from skeleton_reid.tensorflow_v1 import bundle


@pytest.fixture
def variables():
    rng = np.random.RandomState(7)
    found = {
        f"scope/layer_{n}/kernel": rng.normal(size=(3, n)).astype(np.float32) for n in range(40)
    }
    found |= {
        "step": np.int64(12), "scalar": np.float32(2.5),
        "whole": rng.randint(0, 9, (2, 2, 2)).astype("i4")
    }
    return {**found, "double": rng.normal(size=5), "half": rng.normal(size=4).astype(np.float16)}


def read_all(prefix):
    return bundle.read(bundle.load(prefix))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 31, 32, 33, 1000, 20011])
def test_masked_checksum_is_that_of_one_byte_at_a_time(size):
    data = np.random.RandomState(size).bytes(size)
    assert bundle.masked_crc32c(data) == tf_writer.masked(data)


def test_checksum_is_the_standards_and_compiled():
    assert google_crc32c.implementation == "c"
    # RFC 3720, appendix B.4, and the usual check value.
    assert google_crc32c.value(b"123456789") == tf_writer.crc32c(b"123456789") == 0xE3069283
    assert google_crc32c.value(bytes(32)) == 0x8A9136AA
    assert google_crc32c.value(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("options", [{}, {"shards": 3, "per_block": 4}])
def test_what_was_written_is_read(tmp_path, variables, options):
    prefix = tmp_path / "best.ckpt"
    tf_writer.write(prefix, variables, **options)
    found = read_all(prefix)
    assert found.keys() == variables.keys()
    for name, array in variables.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


def test_an_index_of_tensorflow(golden):
    """Names, shapes and places as the released code's checkpoint has them; the data file is too
    large to be here.
    """
    entries = bundle.load(golden("tf_simmc_KS20.ckpt"))
    assert len(entries) == 20
    kernel = entries["SimMC/dense_1/kernel"]
    assert (kernel.dtype, kernel.shape, kernel.size) == ("<f4", (256, 256), 4 * 256 * 256)
    assert entries["SimMC/SimMC/beta1_power"].shape == ()
    last = max(entries.values(), key=lambda entry: entry.offset)
    assert last.offset + last.size == 1812488


def test_a_compressed_block_is_refused(tmp_path, variables):
    tf_writer.write(tmp_path / "best.ckpt", variables, compression=1)
    with pytest.raises(InputError, match=r"best\.ckpt\.index .* a block is compressed"):
        bundle.load(tmp_path / "best.ckpt")


def test_every_way_to_name_a_checkpoint(tmp_path, variables):
    prefix = tmp_path / "run" / "best.ckpt"
    tf_writer.write(prefix, variables, shards=2)
    names = ("best.ckpt", "best.ckpt.index", "best.ckpt.meta", "best.ckpt.data-00001-of-00002", "")
    assert {bundle.find(prefix.parent / name) for name in names} == {prefix}
    assert bundle.find(tmp_path / "best.pt") is None
    assert bundle.find(tmp_path) is None
    tf_writer.write(prefix.with_name("last.ckpt"), variables)
    with pytest.raises(InputError, match=r"best\.ckpt, last\.ckpt: name one"):
        bundle.find(prefix.parent)


def test_any_changed_or_lost_byte_is_noticed(tmp_path, variables):
    prefix = tmp_path / "best.ckpt"
    tf_writer.write(prefix, dict(list(variables.items())[-8:]), per_block=3)
    index, data = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    expected, rng = read_all(prefix), np.random.RandomState(3)
    for file in (index, data):
        whole = file.read_bytes()
        changed = [bytearray(whole) for _ in range(60)]
        for each in changed:
            each[rng.randint(len(whole))] ^= 1 << rng.randint(8)
        for damaged in [
                *changed, *(whole[:n] for n in rng.randint(0, len(whole), 20)), b"", whole + b"."
        ]:
            file.write_bytes(damaged)
            try:
                found = read_all(prefix)
            except InputError as error:
                assert str(file) in str(error)
                continue
            # Padding and the place of the empty meta index are not used; nor are bytes behind the
            # last array.
            assert damaged[:len(whole) - 48] == whole[:len(whole) - 48] or damaged == whole + b"."
            assert all(np.array_equal(found[name], array) for name, array in expected.items())
        file.write_bytes(whole)


def test_entries_that_lie_are_refused(tmp_path):
    """Whatever an entry says, with all checksums right: an array or an InputError."""
    prefix, rng = tmp_path / "best.ckpt", np.random.RandomState(11)
    tf_writer.write(prefix, {"a": np.zeros(3, np.float32)})
    refused = 0
    for _ in range(300):
        parts = [
            tf_writer.number(int(f), int(rng.choice([1, 2, 3, 12, 2**40, 2**63])))
            for f in rng.randint(1, 8, 3)
        ]
        entry = b"".join(parts) + rng.bytes(rng.randint(4))
        Path(f"{prefix}.index").write_bytes(
            tf_writer.table({b"": tf_writer.number(1, 1), b"a": entry}, 9))
        try:
            read_all(prefix)
        except InputError:
            refused += 1
    assert refused > 250


def test_missing_files_and_other_types(tmp_path, variables):
    prefix = tmp_path / "best.ckpt"
    tf_writer.write(prefix, variables, shards=2, dtypes={"half": 14})  # bfloat16
    entries = bundle.load(prefix)
    half = entries.pop("half")
    with pytest.raises(InputError, match="'half' is not a whole array of numbers"):
        bundle.read({"half": half})
    assert bundle.read({"scalar": entries["scalar"]})["scalar"] == 2.5
    Path(f"{prefix}.data-00001-of-00002").unlink()
    with pytest.raises(InputError,
                       match=r"00001-of-00002 cannot be read .*\.index and \.data files together"):
        bundle.read(entries)
    Path(f"{prefix}.index").unlink()
    with pytest.raises(InputError, match=r"index cannot be read"):
        bundle.load(bundle.find(prefix))
