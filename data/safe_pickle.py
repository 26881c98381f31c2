"""Read a pickled `.npy` file without running code: numpy arrays, dicts, lists and numbers alone.

NumPy's own unpickling trusts what it reads (a made-up dtype can turn bytes into pointers), so the
pickle is given stand-ins for NumPy's classes, and arrays are built from the bytes they collect.
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
        _, byte_order, *fields = state[:5]
        if fields != [None, None, None]:
            raise pickle.UnpicklingError("it asks for arrays with fields")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _Array:
    """Stands for numpy.ndarray; entries of an object array `value` may be stand-ins again."""

    def __init__(self, *_kind_shape_code):
        pass

    def __setstate__(self, state: tuple):
        _, shape, dtype, fortran, content = state
        is_object = dtype.dtype == object
        flat = np.fromiter(content, object) if is_object else _from_bytes(dtype, content)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _from_bytes(dtype: _Dtype, content: str | bytes) -> np.ndarray:
    return np.frombuffer(_bytes(content), dtype=dtype.dtype)


def _bytes(content: str | bytes, encoding: str = "latin1") -> bytes:
    """Python 2 wrote bytes as text, Python 3's protocol 2 as a call of `_codecs.encode`."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return content.encode("latin1") if isinstance(content, str) else bytes(content)


_STAND_INS = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": lambda dtype, content: _from_bytes(dtype, content)[0],
    "_codecs.encode": _bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        wanted = f"{module}.{name}"
        stand_in = _STAND_INS.get(wanted.replace("numpy._core.", "numpy.core."))  # NumPy 2 and 1
        if stand_in is None:
            raise pickle.UnpicklingError(f"it asks for {wanted}")
        return stand_in


def _unwrap(value):
    """The value with arrays in place of their stand-ins."""
    if isinstance(value, _Array):
        return _unwrap(value.value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return np.fromiter(map(_unwrap, value.flat), object).reshape(value.shape)
    if isinstance(value, dict):
        return {key: _unwrap(entry) for key, entry in value.items()}
    return list(map(_unwrap, value)) if isinstance(value, list | tuple) else value


def read_pickled_npy(path: Path) -> np.ndarray:
    """The object array that a `.npy` file holds as a pickle; tuples in it become lists.

    InputError, before anything in it can run, for a file that asks for more than arrays, dicts,
    lists and numbers, and for a file that is damaged.
    """
    try:
        with Path(path).open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if not dtype.hasobject:
                raise pickle.UnpicklingError(f"it holds {dtype} and no pickle")
            array = _unwrap(_Unpickler(file, encoding="latin1").load())
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise pickle.UnpicklingError(f"it holds no object array of shape {shape}")
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        raise InputError(
            f"{path} was refused: expected a pickle of numpy arrays, dicts, lists and numbers, "
            f"but {error}; do not use this file"
        ) from error
    return array
