"""Encoders: how each method's model turns skeletons into features, their size, checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import log
from skeleton_reid.data.skeleton import Skeleton
from skeleton_reid.engine import checkpoint, settings
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.models.age import AGE, concatenated, encoder_states
from skeleton_reid.models.himpc import HiMPC
from skeleton_reid.models.recognition import DF
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.models.smsge import SMSGE
from skeleton_reid.models.spcmgr import SPCMGR
from skeleton_reid.models.statistics import Statistics


def age_rows(model: AGE, skeletons: Tensor, options: settings.AGESettings) -> Tensor:
    """`ap`: each frame's feature, encoding or encoder state, is a row; `sc`: all make one."""
    out = model.encode(skeletons)
    states = options.feature == "states"
    frames = encoder_states(out, model.target) if states else out["encodings"]
    return concatenated(frames)[:, None] if options.manner == "sc" else frames


def smsge_rows(model: SMSGE, skeletons: Tensor, options: settings.SMSGESettings) -> Tensor:
    """The states after the prefixes, or with `last_pre` the last of them alone."""
    prefixes = skeletons.shape[1] + (options.prefixes == "f+1")
    states = model.states(model.graphs(skeletons), prefixes)
    return states[:, -1:] if options.last_pre else states


Encode = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """How the models of a method are used."""

    model: type[nn.Module]
    frames: Encode = lambda model, skeletons: model.encode(skeletons)  # -> (B, f or 1, d)
    sequence: Callable[[Tensor], Tensor] = lambda frames: frames.mean(dim=1)  # these -> (B, d)
    rows: Callable[[nn.Module, Tensor, Any], Tensor] | None = None  # for the recogniser, (B, R, d')
    batch: int = 24_576  # frames encoded at a time: 4,096 sequences of 6; bounds memory


METHODS = {
    "SimMC": Method(SimMC), "DF": Method(DF), "statistics": Method(Statistics),
    "AGE": Method(AGE, lambda model, x: model.encode(x)["encodings"], rows=age_rows),
    "Hi-MPC": Method(HiMPC, lambda model, x: model.frames(x)), "SPC-MGR": Method(SPCMGR),
    "SM-SGE": Method(SMSGE, lambda model, x: model.states(model.graphs(x)),
                     sequence=lambda states: states[:, -1], rows=smsge_rows, batch=3_072)
}


def method_of(model: nn.Module) -> Method:
    """The row of METHODS that a model belongs to."""
    return next(method for method in METHODS.values() if isinstance(model, method.model))


def encode_frames(model: nn.Module, skeletons: np.ndarray) -> Tensor:
    """Frame features of skeletons (N, f, J, 3): (N, f, H) on the model's device."""
    return _encode(model, skeletons, method_of(model).frames)


def encode_set(model: nn.Module, skeletons: np.ndarray) -> Tensor:
    """Sequence features of skeletons (N, f, J, 3): (N, H) on the model's device."""
    return method_of(model).sequence(encode_frames(model, skeletons))


def encode_rows(model: nn.Module, skeletons: np.ndarray, options: Any) -> Tensor:
    """What the model's recogniser is given of skeletons (N, f, J, 3): (N, R, d) on its device."""
    return _encode(model, skeletons, partial(method_of(model).rows, options=options))


@torch.no_grad()
def _encode(model: nn.Module, skeletons: np.ndarray, encode: Encode) -> Tensor:
    model.eval()  # no dropout, and the running statistics of batch norm
    device, frames = next(model.parameters()).device, method_of(model).batch
    batches = torch.from_numpy(skeletons).split(max(1, frames // skeletons.shape[1]))
    return processes.divided(lambda batch: (encode(model, batch.to(device)),), batches)[0]


def count_parameters(model: nn.Module) -> int:
    """All trained numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def count_operations(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products in a call, two for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def log_sizes(options: TrainingOptions, encoder: nn.Module, sizes: Mapping[str, int],
              sequences: np.ndarray) -> None:
    """Log the sizes; with --model_size also FLOPs for one of the sequences (N, f, J, 3 or d)."""
    words = "  ".join(f"{name} {size}" for name, size in sizes.items())
    words += f" sequences  {count_parameters(encoder):,} parameters"
    if options.model_size:
        operations = count_operations(lambda: encode_set(encoder, sequences[:1]))
        words += f", {operations:,} FLOPs of matrix products"
    log.info(words)


def is_centred(options: Any) -> bool:
    """Whether a model with these settings takes skeletons with the hip centre as the origin."""
    return getattr(options, "centred", True)


def load_model(path: Path, skeleton: Skeleton, length: int, device: torch.device,
               source: Any = None,
               content: dict[str, Any] | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """A checkpoint's model and its content (if that is not read already), on features of a source
    (features.Source) or skeletons. InputError for others than it was trained on, or a damaged file.
    """
    content = content or checkpoint.load(path)
    name = content["method"].rpartition(" + ")[2]  # "AGE + SimMC" is a SimMC
    if name not in METHODS:
        raise InputError(f"{path} holds a model of unknown method {content['method']!r}")
    if "model" not in content:
        raise InputError(f"{path} holds a state to --resume from: name best.pt beside it")
    arguments = content["arguments"]
    known = {"joints", "inputs"} & arguments.keys()
    model = METHODS[name].model(*(() if known else (skeleton,)), **arguments)
    checkpoint.load_weights(model, content["model"], path)
    if source is not None or "source" in content:
        _check_source(path, content, source)
    else:
        trained = arguments.get("joints", arguments.get("inputs", 3 * len(skeleton)) // 3)
        if trained != len(skeleton):
            raise InputError(f"{path} was trained on frames of {trained} joints, these data have "
                             f"{len(skeleton)}")
        if "skeleton" in content and tuple(content["skeleton"]["joints"]) != skeleton.joints:
            raise InputError(f"{path} was trained on the skeleton {content['skeleton']['name']}, "
                             f"these data have {skeleton.name}")
    if content["length"] != length:
        raise InputError(f"{path}: trained with f = {content['length']}, found --length {length}")
    return model.to(device).eval(), content


def _check_source(path: Path, content: Mapping[str, Any], source: Any) -> None:
    """InputError unless a checkpoint was trained on frame features of this source."""
    trained = content.get("source")
    if trained is None or source is None:
        words = "skeletons" if trained is None else f"frame features of {trained}"
        other = "no --source" if source is None else f"--source {source.name}"
        raise InputError(f"{path}: expected {words}, on which it was trained, found {other}")
    # Weights tell encoders apart. Feature files of other data come from the same model.
    own, other, size = content["source_digest"], source.digest, content["arguments"]["inputs"]
    is_other = own.startswith("weights") and other.startswith("weights") and own != other
    if is_other or source.size != size:
        raise InputError(f"{path}: expected features of {trained}, {size} with {own[:16]}, found "
                         f"those of {source.file}, {source.size} with {other[:16]}")
