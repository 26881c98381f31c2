"""The toolkit under one import name: `skeleton_reid.load`, `Gallery`, and the rooms below it, such
as `skeleton_reid.models.simmc`. What a user calls is in api.py, which is imported when asked for,
because PyTorch takes seconds.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Encoder", "Gallery", "InputError", "Match", "load", "read"]

_ROOT = Path(__file__).parent.parent
if (_ROOT / "pyproject.toml").is_file():  # a checkout, in which the rooms lie beside this folder
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("skeleton_reid.api"), name)
