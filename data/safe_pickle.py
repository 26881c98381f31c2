"""Read a pickled `.npy` file without running code: numpy arrays, dicts, lists and numbers, nothing else."""

import pickle
from pathlib import Path

import numpy as np

from reid.errors import InputError

# Where NumPy 1 (also under Python 2) and NumPy 2 say that these functions live.
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
# The functions themselves, taken from what NumPy writes today: their own address is private to NumPy.
_FUNCTIONS = {
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "_frombuffer": np.empty(1).__reduce_ex__(5)[0],
}


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Python 3 pickles bytes, in protocol 2, as a call of `_codecs.encode`."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
    **{(module, name): function for module in _MODULES for name, function in _FUNCTIONS.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ADMITTED[module, name]


def read_pickled_npy(path: Path) -> np.ndarray:
    """The object array that a `.npy` file holds as a pickle.

    Raises InputError, before anything in it can run, for a file that asks for more than arrays, dicts, lists
    and numbers, and for a file that is damaged.
    """
    with Path(path).open("rb") as file:
        try:
            major, _ = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
            if not dtype.hasobject:
                raise pickle.UnpicklingError(f"it holds {dtype} and no pickle")
            array = _Unpickler(file, encoding="latin1").load()
        # A damaged or hostile pickle can fail in any way; nothing is hidden, since every way ends here.
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
