"""Labels from pickled files: what NumPy 1, NumPy 2 and Python 2 write is read; what is hostile
never runs.
"""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from skeleton_reid import data
from skeleton_reid.common.errors import InputError
from skeleton_reid.data.files import read_labels
from skeleton_reid.data.layouts import Part
from skeleton_reid.data.safe_pickle import read_pickled_npy

IDS = {1: [0, 2, 5], 0: [1, 3], 4: np.array([4, 6])}
LABELS = [1, 0, 1, 0, 4, 1, 4]


def npy(pickled: bytes, shape: tuple = ()) -> bytes:
    """A `.npy` file of objects around a pickle."""
    header = repr({"descr": "|O", "fortran_order": False, "shape": shape})
    header += " " * (64 - (10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + pickled


@pytest.fixture
def part(tmp_path) -> Part:
    return Part(tmp_path, "source", "KS20", 6)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("core", [b"numpy._core", b"numpy.core"])
def test_labels_from_ids(part, protocol, core):
    ids = np.empty((), dtype=object)
    ids[()] = IDS
    written = pickle.dumps(ids, protocol)
    if (protocol < 4
        ):  # from protocol 4 on names carry their length, and NumPy 1 would write another one
        written = written.replace(b"numpy._core", core).replace(b"numpy.core", core)
    part.ids.write_bytes(npy(written))
    np.testing.assert_array_equal(read_labels(part), LABELS)
    assert read_labels(part).dtype == np.int64


def test_labels_from_ids_of_python_2(part):
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nq\x02K\x00\x85U"
    head += b"\x01btRq\x03"
    objects = b"(K\x01)cnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ"
    objects += b"\xff\xff\xff\xffK?tb\x89"
    # The keys are numpy.int64 scalars, as numpy.unique gives them: dtype 'i8', byte order '<'.
    key = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02i8K\x00K\x01tR(K\x03U\x01<NNN"
    key += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x08%c\0\0\0\0\0\0\0tR"
    entries = b"".join(key % label + b"]" + b"".join(b"K%ca" % n for n in IDS[label]) + b"s"
                       for label in IDS)
    part.ids.write_bytes(npy(head + objects + b"]}" + entries + b"atb."))
    np.testing.assert_array_equal(read_labels(part), LABELS)


def test_a_pickled_frame_id_is_left_alone(part):
    np.save(part.frame_id, np.array(LABELS, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="no labels"):
        read_labels(part)
    np.save(part.ids, np.array(IDS, dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(read_labels(part), LABELS)


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], {
    "a": np.arange(6.0).reshape(2, 3, order="F"), "b": np.array(["x", "yz"]), "c": np.float32(2.5)
}, {1: np.arange(3, dtype=">i4"), 2: np.array([True, False]), 3: [None, "text", b"bytes", 2**80]}])
def test_values_come_back(tmp_path, value):
    array = np.empty(2, dtype=object)
    array[0], array[1] = value, [value]
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    read = read_pickled_npy(tmp_path / "a.npy")
    np.testing.assert_equal(read.tolist(), np.load(tmp_path / "a.npy", allow_pickle=True).tolist())


class Hostile:
    """Unpickled by pickle itself, this makes a folder."""
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["frame_id", "ids", "coordinates"])
def test_a_hostile_pickle_runs_nothing(tmp_path, write_dataset, name):
    part = write_dataset(tmp_path, "KS20", 6, 2, 3, np.random.RandomState(0))["train"]
    marker = tmp_path / "it ran"
    payload = npy(pickle.dumps(Hostile(marker)))
    path = {"frame_id": part.frame_id, "ids": part.ids, "coordinates": part.axis("x")}[name]
    path.write_bytes(payload)
    if name != "coordinates":  # read only if the other file of labels is of no use
        other = part.ids if name == "frame_id" else part.frame_id
        other.unlink()
    with pytest.raises(InputError,
                       match=r"refused: .*mkdir|no labels|expected an array of numbers"):
        data.load("KS20", "probe", root=tmp_path, batch_size=4)
    assert not marker.exists()
    np.load(path, allow_pickle=True)
    assert marker.exists(), "the payload works, if it is let"


def forged(dtype_state: bytes, content: bytes) -> bytes:
    """An array of one entry whose dtype is given a state by hand."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01\x85"
        b"cnumpy\ndtype\n(U\x02V8K\x00K\x01tR" + dtype_state + b"b\x89" + content + b"tb.")


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system|posix.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "fromfile"),
        (b"cnumpy.testing._private.utils\nrunstring\n.", "runstring"),
        (forged(b"(K\x03U\x01|NNNK\x08K\x01K\x00t", b"U\x08AAAAAAAA"), "'V8'"),
        (b"garbage", "refused"),
        (b"", "refused"),
        (b"]q\x00h\x00a.", "refused"),  # a list that holds itself
        (pickle.dumps({1: [0]}), "object array")  # a dict, but no array around it
    ])
def test_what_is_refused(part, pickled, words):
    part.ids.write_bytes(npy(pickled))
    with pytest.raises(InputError, match=words) as error:
        read_labels(part)
    assert str(part.ids) in str(error.value)


@pytest.mark.parametrize("ids", [{0: [0, 1], 1: [1, 2]}, {0: [0], 1: [2]}, {0: ["a"]}, {"ann": [0]},
                                 {0: [[0], [1, 2]]}, {0: 5}, {}, [0, 1]])
def test_ids_that_give_no_labels(part, ids):
    array = np.empty((), dtype=object)
    array[()] = ids
    np.save(part.ids, array, allow_pickle=True)
    with pytest.raises(InputError, match=r"ids_KS20_6\.npy: expected"):
        read_labels(part)


def test_a_file_that_is_not_pickled_is_no_ids_file(part):
    np.save(part.ids, np.arange(4))
    with pytest.raises(InputError, match="no pickle"):
        read_labels(part)
