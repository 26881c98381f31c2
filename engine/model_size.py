"""The size of a model: its parameters, and the operations of encoding one sequence, beside the
published figures.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from common.log import log
from engine.encoding import encode_set

# Published parameters and operations (one set for all data sets), and whose parameters they are.
PUBLISHED = {
    "SimMC": "0.15 M and 0.99 G, encoder and prediction head as here",
    "AGE": "7.15 M and 37.37 G, of what is not said",
    "SM-SGE": "5.58 M and 22.61 G, with the recognition network (IAS: 20 joints, 11 persons)",
}


def count_parameters(model: nn.Module) -> int:
    """All trained numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def count_operations(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products in a call, two for a multiply-add; nothing
    else is counted.
    """
    in_place = dict.fromkeys((torch.ops.aten.addmm_, torch.ops.aten.baddbmm_), _sum_and_product)
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        work()
    return counter.get_total_flops()


def describe(method: str, encoder: nn.Module, sequences: np.ndarray) -> None:
    """Log the size of an encoder. sequences (N, f, J, 3) or (N, f, d), of which the first is
    encoded.
    """
    operations = count_operations(lambda: encode_set(encoder, sequences[:1]))
    log.info(
        f"{count_parameters(encoder):,} parameters, {operations:,} FLOPs to encode one sequence "
        "(matrix products, 2 a multiply-add)"
    )
    if method in PUBLISHED:
        log.info(f"published: {PUBLISHED[method]}; operations of a whole training graph")


def _sum_and_product(into: torch.Size, a: torch.Size, b: torch.Size, *_: Any, **__: Any) -> int:
    """Operations of into += a b from the shapes; the library's counter leaves out products in
    place.
    """
    return 2 * math.prod(a) * b[-1]
