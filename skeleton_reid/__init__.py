"""The toolkit under one import name: `skeleton_reid.load`, `Gallery`, and the rooms below it, such
as `skeleton_reid.models.simmc`. What a user calls is in api.py and people.py, which are imported
when asked for, because PyTorch takes seconds.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Encoder", "Gallery", "InputError", "Match", "load", "read"]

# Threads that wait for work leave their core to others, and no number changes. OpenMP reads it when
# PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_ROOT = Path(__file__).parent.parent
if (_ROOT / "pyproject.toml").is_file():  # a checkout, in which the rooms lie beside this folder
    __path__.append(str(_ROOT))
    for name in ("torch", "numpy", "scipy", "sklearn", "numba", "msgspec", "filelock", "tqdm"):
        if not find_spec(name):
            print(f"error: {sys.executable} lacks {name}: make setup, then . .venv/bin/activate",
                  file=sys.stderr)
            sys.exit(2)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "people" if name in ("Gallery", "Match") else "api"
    return getattr(import_module(f"skeleton_reid.{module}"), name)
