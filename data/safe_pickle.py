"""Read a pickled `.npy` file without running code: numpy arrays, dicts, lists and numbers, nothing
else.

NumPy's own unpickling trusts what it reads (a made-up dtype can turn bytes into pointers), so the
pickle is given stand-ins for NumPy's three classes, and arrays are built from the bytes that they
collect.
"""

import pickle
import re
from pathlib import Path

import numpy as np

from common.errors import InputError


class _Dtype:
    """Stands for numpy.dtype: numbers, text and objects, no fields."""

    def __init__(self, code: str, *_flags):
        if not re.fullmatch(r"[?biufOSU]\d*", code):
            raise pickle.UnpicklingError(f"it asks for arrays of {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple):
        _, byte_order, subarray, names, fields, *_ = state
        if (subarray, names, fields) != (None, None, None):
            raise pickle.UnpicklingError("it asks for arrays with fields")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _Array:
    """Stands for numpy.ndarray; `value` is the array, in which object entries may be stand-ins
    again.
    """

    def __setstate__(self, state: tuple):
        _, shape, stand_in, fortran, content = state
        if stand_in.dtype == object:
            flat = _object_array(content)
        else:
            flat = np.frombuffer(_bytes(content), dtype=stand_in.dtype)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _object_array(entries: list) -> np.ndarray:
    """(n,) whatever the entries are; numpy.array would take apart entries of equal length."""
    array = np.empty(len(entries), dtype=object)
    for i, entry in enumerate(entries):
        array[i] = entry
    return array


def _new_array(_kind, _shape, _code) -> _Array:
    return _Array()


def _scalar(stand_in: _Dtype, content: str | bytes):
    return np.frombuffer(_bytes(content), dtype=stand_in.dtype)[0]


def _bytes(content: str | bytes, encoding: str = "latin1") -> bytes:
    """Bytes; Python 2 wrote them as text, and Python 3's protocol 2 as a call of
    `_codecs.encode`.
    """
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return content.encode("latin1") if isinstance(content, str) else bytes(content)


_STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _new_array,  # NumPy 1
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,  # NumPy 2
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _STAND_INS[module, name]


def _unwrap(value):
    """The value with arrays in place of their stand-ins."""
    if isinstance(value, _Array):
        return _unwrap(value.value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return _object_array([_unwrap(entry) for entry in value.flat]).reshape(value.shape)
    if isinstance(value, dict):
        return {key: _unwrap(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_unwrap(entry) for entry in value]
    return value


def read_pickled_npy(path: Path) -> np.ndarray:
    """The object array that a `.npy` file holds as a pickle; tuples in it become lists.

    Raises InputError, before anything in it can run, for a file that asks for more than arrays,
    dicts, lists and numbers, and for a file that is damaged.
    """
    with Path(path).open("rb") as file:
        try:
            major, _ = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if major == 1
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
            if not dtype.hasobject:
                raise pickle.UnpicklingError(f"it holds {dtype} and no pickle")
            array = _unwrap(_Unpickler(file, encoding="latin1").load())
        # A damaged or hostile pickle can fail in any way; nothing is hidden, since every way ends
        # here.
        except Exception as error:
            raise InputError(
                f"{path} was refused: expected a pickle of numpy arrays, dicts, lists and numbers, "
                f"but {error}; do not use this file"
            ) from error
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise InputError(
            f"{path} was refused: expected an object array of shape {shape}; do not use this file"
        )
    return array
