"""What a TensorFlow checkpoint is, told by its variables."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.errors import InputError
from tensorflow_v1 import tf_checkpoint

# Variables that each kind has, as regular expressions; the first kind that has all of its own is
# taken. A pre-trained SM-SGE holds a recogniser that was never trained (Variable to _3): in use, in
# a finished one, are Variable_4 to _7.
KINDS = {
    "SM-SGE recogniser": (
        "Multi_Scale/.*",
        "MSR/.*",
        *(f"Recognition/.*/Variable_{n}" for n in (4, 5, 6, 7)),
    ),
    "SM-SGE": ("Multi_Scale/.*", "MSR/.*"),
    "AGE": ("memory_layer/kernel", "rnn/multi_rnn_cell/.*", "decode/.*"),
    "AGE recogniser": ("W1", "b1", "W", "Variable|b"),
    "SimMC": ("(.*/)?dense/kernel", "(.*/)?dense_1/kernel", "(.*/)?Variable", "(.*/)?Variable_1"),
}
OPTIMISER = re.compile(r"(.*/)?(Adam\d*(_\d+)?|beta[12]_power(_\d+)?|learning_rate|global_step)")
SHOWN = 8  # variables that a refusal names


def read(prefix: Path) -> tuple[str, dict[str, np.ndarray]]:
    """The kind of a checkpoint and its variables, without those of the optimiser and those that
    hold no numbers.

    Raises InputError for a damaged checkpoint, and for one of another model with some of the
    variables found.
    """
    checkpoint = tf_checkpoint.load(prefix)
    shapes = {
        name: entry.shape
        for name, entry in checkpoint.entries.items()
        if entry.dtype is not None and not OPTIMISER.fullmatch(name)
    }
    kind = identify(shapes)
    if kind is None:
        found = [f"{name} {list(shape)}" for name, shape in shapes.items()]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(
            f"{prefix} is no checkpoint of SimMC, SM-SGE or AGE: found the variables "
            f"{', '.join(found[:SHOWN]) or 'none'}{more}"
        )
    return kind, checkpoint.read(shapes)


def identify(names: Mapping[str, object]) -> str | None:
    """The first kind that all its variables are there of; None if there is none."""
    for kind, patterns in KINDS.items():
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns):
            return kind
    return None
