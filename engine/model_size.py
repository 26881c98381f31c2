"""The size of a model: its parameters, and the operations of encoding one sequence."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from common.log import log
from engine.encoding import encode_set


def count_parameters(model: nn.Module) -> int:
    """All trained numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def count_operations(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products in a call, two for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def describe(encoder: nn.Module, sequences: np.ndarray) -> None:
    """Log the size of an encoder, from the first of the sequences (N, f, J, 3) or (N, f, d)."""
    operations = count_operations(lambda: encode_set(encoder, sequences[:1]))
    log.info(f"{count_parameters(encoder):,} parameters, {operations:,} FLOPs of matrix products")
