"""Read a pickled `.npy` file without running code: numpy arrays, dicts, lists and numbers alone.

NumPy's own unpickling trusts what it reads (a made-up dtype can turn bytes into pointers), so the
pickle is given stand-ins for NumPy's classes, and arrays are built from the bytes they collect.
"""

import re
from pathlib import Path
from pickle import Unpickler, UnpicklingError

import numpy as np

from skeleton_reid.common.errors import InputError


class _Dtype:
    """Stands for numpy.dtype: numbers, text and objects, no fields."""
    def __init__(self, code: str, *_flags):
        if not re.fullmatch(r"[?biufOSU]\d*", code):
            raise UnpicklingError(f"it asks for arrays of {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple):
        _, byte_order, *fields = state[:5]
        if fields != [None, None, None]:
            raise UnpicklingError("it asks for arrays with fields")
        self.dtype = self.dtype.newbyteorder(byte_order)

    def array(self, content: str | bytes) -> np.ndarray:
        return np.frombuffer(_bytes(content), dtype=self.dtype)


class _Array:
    """Stands for numpy.ndarray; entries of an object array `value` may be stand-ins again."""
    def __setstate__(self, state: tuple):
        _, shape, dtype, fortran, content = state
        flat = np.fromiter(content, object) if dtype.dtype == object else dtype.array(content)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _bytes(content: str | bytes, encoding: str = "latin1") -> bytes:
    """Python 2 wrote bytes as text, Python 3's protocol 2 as a call of `_codecs.encode`."""
    if encoding != "latin1":
        raise UnpicklingError(f"it asks for the encoding {encoding!r}")
    return content.encode("latin1") if isinstance(content, str) else bytes(content)


_STAND_INS = {
    "numpy.ndarray": _Array, "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": lambda *_kind_shape_code: _Array(),
    "numpy.core.multiarray.scalar": lambda dtype, content: dtype.array(content)[0],
    "_codecs.encode": _bytes
}


class _Unpickler(Unpickler):
    def find_class(self, module: str, name: str):
        wanted = f"{module}.{name}".replace("numpy._core.", "numpy.core.")  # NumPy 2's and 1's name
        if wanted not in _STAND_INS:
            raise UnpicklingError(f"it asks for {wanted}")
        return _STAND_INS[wanted]


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

    InputError for a damaged file, and, before any of it can run, for one that asks for more.
    """
    try:
        with Path(path).open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if not dtype.hasobject:
                raise UnpicklingError(f"it holds {dtype} and no pickle")
            array = _unwrap(_Unpickler(file, encoding="latin1").load())
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise UnpicklingError(f"it holds no object array of shape {shape}")
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        expected = "expected a pickle of numpy arrays, dicts, lists and numbers"
        raise InputError(f"{path} was refused: {expected}, but {error}; do not use it") from error
    return array
