"""Saved models: rebuild, check against the data, encode, score, write features."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import data
from data import Retrieval
from models.simmc import SimMC
from reid import checkpoint, protocol
from reid.cli import log
from reid.errors import InputError
from reid.features import Features, part_path, write
from reid.runs import load_weights

METHODS = {"SimMC": SimMC}
ENCODE_BATCH = 4096  # sequences; bounds memory, changes no number


def load_retrieval(
    args: argparse.Namespace, batch_size: int, rng: np.random.RandomState | None = None
) -> Retrieval:
    """The data set that a command line names; the training set only if there is a stream to draw its order from."""
    return protocol.load_retrieval(
        args.dataset, args.probe, args.length, args.data, rng, batch_size, args.protocol,
        balance=getattr(args, "balance", True), train=rng is not None,
    )  # fmt: skip


def read_header(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself: method, dataset, probe, length, settings, epoch, ..."""
    return {name: value for name, value in checkpoint.load(path).items() if name != "model"}


def load_model(
    path: Path, joints: int, length: int, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a checkpoint and the checkpoint's content.

    Raises InputError for a damaged file, or one made for another number of joints or frames than the data's.
    """
    content = checkpoint.load(path)
    if content["method"] not in METHODS:
        raise InputError(f"{path} holds a model of unknown method {content['method']!r}")
    model = METHODS[content["method"]](**content["arguments"])
    load_weights(model, content["model"], path)
    inputs = content["arguments"]["inputs"]
    if inputs != joints * 3:
        raise InputError(f"{path} was trained on frames of {inputs // 3} joints, these data have {joints}")
    if content["length"] != length:
        raise InputError(f"{path} was trained with f = {content['length']}, found --length {length}")
    return model.to(device), content


@torch.no_grad()
def encode_frames(model: nn.Module, skeletons: np.ndarray) -> torch.Tensor:
    """Frame features of skeletons (N, f, J, 3): (N, f, H) on the model's device."""
    device = next(model.parameters()).device
    return torch.cat(
        [model.encode(part.to(device)) for part in torch.from_numpy(skeletons).split(ENCODE_BATCH)]
    )


def encode_set(model: nn.Module, skeletons: np.ndarray) -> torch.Tensor:
    """Sequence features of skeletons (N, f, J, 3): the mean over the frames, (N, H) on the model's device."""
    return encode_frames(model, skeletons).mean(dim=1)


def score_checkpoint(path: Path, sets: Retrieval, protocol_name: str, device: torch.device) -> dict[str, Any]:
    """Retrieval figures of a checkpoint on a data set, with the epoch that it was saved at."""
    model, content = load_model(path, sets.joints, sets.length, device)
    figures = protocol.score(
        sets,
        encode_set(model, sets.probe.skeletons),
        encode_set(model, sets.gallery.skeletons),
        protocol_name,
    )
    return {**figures, "epoch": content["epoch"]}


def save_features(path: Path, saved: Path, args: argparse.Namespace, device: torch.device) -> None:
    """Write the features of train, probe and gallery, in the order of the data files, by a saved model."""
    sets = data.load(args.dataset, args.probe, args.length, args.data, balance=False, shuffle=False)
    model, _ = load_model(saved, sets.joints, sets.length, device)
    for part in ("train", "probe", "gallery"):
        sequences = getattr(sets, part)
        frames = encode_frames(model, sequences.skeletons).cpu()
        file = part_path(path, part)
        write(file, Features(frames.mean(dim=1).numpy(), sequences.labels, frames.numpy()))
        log.info(f"wrote {file}")


def describe(model: nn.Module, sets: Retrieval, size: bool) -> None:
    """Log the sizes of the sets and, if asked for, parameters and FLOPs of encoding one sequence."""
    log.info(f"train {len(sets.train)}  probe {len(sets.probe)}  gallery {len(sets.gallery)} sequences")
    if size:
        with FlopCounterMode(display=False) as counter:
            encode_set(model, sets.probe.skeletons[:1])
        parameters = sum(p.numel() for p in model.parameters())
        log.info(f"{parameters:,} parameters, {counter.get_total_flops():,} FLOPs to encode one sequence")
