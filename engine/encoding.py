"""Encoders: how each method's model turns skeletons into features, their size, checkpoints."""

import math
from collections.abc import Callable, Mapping
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
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.methods import method_of
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.models.embedding import EmbeddingModel


@torch.no_grad()
def encode_frames(model: EmbeddingModel, skeletons: np.ndarray,
                  encode: Callable[[Tensor], Tensor] | None = None, multiple: int = 1) -> Tensor:
    """Frame embeddings of skeletons (N, f, J, 3), or what else the model's `encode` gives: (N, f or
    1, d) on the model's device. multiple: so many windows or a multiple of it are encoded at once.
    """
    model.eval()  # no dropout, and the running statistics of batch norm
    encode, device = encode or model.embed, next(model.parameters()).device
    size = max(1, model.frames_at_a_time // skeletons.shape[1])
    batches = torch.from_numpy(skeletons).split(math.ceil(size / multiple) * multiple)
    return processes.divided(lambda batch: (encode(batch.to(device)),), batches)[0]


def encode_set(model: EmbeddingModel, skeletons: np.ndarray) -> Tensor:
    """Embeddings of windows (N, f, J, 3): (N, d) on the model's device."""
    return model.pool(encode_frames(model, skeletons))


def encode_rows(model: EmbeddingModel, skeletons: np.ndarray, settings: Any) -> Tensor:
    """What the model's recogniser is given of skeletons (N, f, J, 3): (N, R, d) on its device."""
    rows = partial(model.recogniser_rows, settings=settings)
    return encode_frames(model, skeletons, rows, multiple=settings.batch_size)


def count_parameters(model: nn.Module) -> int:
    """All trained numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def count_operations(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products in a call, two for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def log_sizes(options: TrainingOptions, encoder: nn.Module, sizes: Mapping[str, Any],
              sequences: np.ndarray) -> None:
    """Log the sizes; with --model_size also FLOPs for one of the sequences (N, f, J, 3 or d)."""
    words = "  ".join(f"{name} {size}" for name, size in sizes.items())
    words += f" sequences  {count_parameters(encoder):,} parameters"
    if options.model_size:
        operations = count_operations(lambda: encode_set(encoder, sequences[:1]))
        words += f", {operations:,} FLOPs of matrix products"
    log.info(words)


def load_model(path: Path, skeleton: Skeleton, length: int, device: torch.device,
               source: Any = None,
               content: dict[str, Any] | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """A checkpoint's model and its content (if that is not read already), on features of a source
    (features.Source) or skeletons. InputError for others than it was trained on, or a damaged file.
    """
    content = content or checkpoint.load(path)
    if "model" not in content:
        raise InputError(f"{path} holds a state to --resume from: name best.pt beside it")
    arguments, build = content["arguments"], method_of(content).model_class
    try:
        told = "joints" in arguments or "inputs" in arguments
        model = build(**arguments) if told else build(skeleton, **arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise checkpoint.other_version(path, content, error) from error
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
    checkpoint.load_weights(model, content["model"], path)
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
