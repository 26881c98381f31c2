"""Saved models: rebuild, check against the data, encode, score, write features."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import data
from common.command_line import log
from common.errors import InputError
from data import Retrieval, Sequences
from engine import checkpoint
from engine import evaluation as protocol
from engine.features import Features, part_path, write
from engine.run import load_weights
from models.age import AGE, concatenated, encoder_states
from models.df import DF
from models.simmc import SimMC
from models.smsge import SMSGE

if TYPE_CHECKING:
    from engine.sources import Source


@dataclass(frozen=True)
class Method:
    """How the saved models of a method are used.

    model: its class. frames: model and skeletons (B, f, J, 3) -> frame features (B, f, d).
    sequence: these -> the feature of the sequence (B, d). rows: model, skeletons and settings ->
    what its recogniser is given, (B, R, d'). released_test: labels, settings and f -> the numbers
    of the test windows that the released recognition code counts. batch: frames encoded at a time;
    bounds memory, changes no number.
    """

    model: type[nn.Module]
    frames: Callable[[nn.Module, Tensor], Tensor]
    sequence: Callable[[Tensor], Tensor] = lambda frames: frames.mean(dim=1)
    rows: Callable[[nn.Module, Tensor, Mapping[str, Any]], Tensor] | None = None
    released_test: Callable[[np.ndarray, Mapping[str, Any], int], np.ndarray] | None = None
    batch: int = 24_576  # 4,096 sequences of 6


def age_rows(model: AGE, skeletons: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """`ap`: each frame's feature, an encoding or the encoder's state, is a row; `sc`: all of them
    make one.
    """
    out = model.encode(skeletons)
    states = settings.get("feature") == "states"
    frames = encoder_states(out, model.target) if states else out["encodings"]
    return concatenated(frames)[:, None] if settings["manner"] == "sc" else frames


def age_released_test(labels: np.ndarray, settings: Mapping[str, Any], f: int) -> np.ndarray:
    """The released code drops incomplete batches of rows, which are frames for `ap`."""
    return protocol.tested_batches(
        labels, settings["batch_size"], f if settings["manner"] == "ap" else 1
    )


def smsge_rows(model: SMSGE, skeletons: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """The states after the prefixes, or with `last_pre` the last of them alone."""
    states = model.states(
        model.graphs(skeletons), skeletons.shape[1] + (settings["prefixes"] == "f+1")
    )
    return states[:, -1:] if settings["last_pre"] else states


def smsge_released_test(labels: np.ndarray, settings: Mapping[str, Any], f: int) -> np.ndarray:
    """The released code drops the incomplete last batch, in the order of the files."""
    return np.arange(protocol.released_size(len(labels), settings["batch_size"], "test"))


METHODS = {
    "SimMC": Method(SimMC, lambda model, skeletons: model.encode(skeletons)),
    "DF": Method(DF, lambda model, frames: model.encode(frames)),
    "AGE": Method(
        AGE,
        lambda model, skeletons: model.encode(skeletons)["encodings"],
        rows=age_rows,
        released_test=age_released_test,
    ),
    "SM-SGE": Method(
        SMSGE,
        lambda model, skeletons: model.states(model.graphs(skeletons)),
        sequence=lambda states: states[:, -1],
        rows=smsge_rows,
        released_test=smsge_released_test,
        batch=3_072,  # features of every node and head
    ),
}


def method_of(model: nn.Module) -> Method:
    """The row of METHODS that a model belongs to."""
    return next(method for method in METHODS.values() if isinstance(model, method.model))


def load_retrieval(
    args: argparse.Namespace,
    batch_size: int,
    rng: np.random.RandomState | None = None,
    centred: bool = True,
) -> Retrieval:
    """The data set that a command line names; the training set only if there is a stream to draw
    its order from.

    For the released protocol every set is cut to whole batches of batch_size.
    """
    sets = data.load(
        args.dataset, args.probe, args.length, args.data, rng=rng, batch_size=batch_size,
        balance=rng is not None and args.balance, train=rng is not None, centred=centred,
    )  # fmt: skip
    return protocol.cut(sets, batch_size, args.protocol)


def load_stored(args: argparse.Namespace, centred: bool = True, train: bool = True) -> Retrieval:
    """The data set that a command line names, all of it in the order of its files."""
    return data.load(
        args.dataset, args.probe, args.length, args.data,
        balance=False, shuffle=False, centred=centred, train=train,
    )  # fmt: skip


def read_header(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself: method, dataset, probe, length, settings, epoch, ..."""
    return {name: value for name, value in checkpoint.load(path).items() if name != "model"}


def load_model(
    path: Path,
    joints: int,
    length: int,
    device: torch.device,
    source: "Source | None" = None,
    content: dict[str, Any] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a checkpoint and the checkpoint's content.

    source: whose frame features the model is to be given, if not skeletons. content: what is in the
    checkpoint, if it has been read already. Raises InputError for a damaged file, or one made for
    another source, or another number of joints or frames than the data's.
    """
    content = content or checkpoint.load(path)
    name = content["method"].rpartition(" + ")[2]  # "AGE + SimMC" is a SimMC
    if name not in METHODS:
        raise InputError(f"{path} holds a model of unknown method {content['method']!r}")
    if "model" not in content:
        raise InputError(
            f"{path} holds a state to --resume from, expected a model: name best.pt beside it"
        )
    arguments = content["arguments"]
    model = METHODS[name].model(**arguments)
    load_weights(model, content["model"], path)
    if source is not None or "source" in content:
        check_source(path, content, source)
    else:
        trained = arguments["joints"] if "joints" in arguments else arguments["inputs"] // 3
        if trained != joints:
            raise InputError(
                f"{path} was trained on frames of {trained} joints, these data have {joints}"
            )
    if content["length"] != length:
        raise InputError(
            f"{path} was trained with f = {content['length']}, found --length {length}"
        )
    return model.to(device), content


def check_source(path: Path, content: Mapping[str, Any], source: "Source | None") -> None:
    """Raises InputError unless a checkpoint was trained on frame features of this source."""
    trained = content.get("source")
    if trained is None or source is None:
        words = "skeletons" if trained is None else f"frame features of {trained}"
        found = "no --source" if source is None else f"--source {source.name}"
        raise InputError(f"{path}: expected {words}, on which it was trained, found {found}")
    digests = content["source_digest"], source.digest
    # Weights tell encoders apart; feature files of other data are made by the same model, and can
    # only be of a size.
    if all(digest.startswith("weights") for digest in digests) and digests[0] != digests[1]:
        raise InputError(
            f"{path}: expected the encoder that it was trained on, {trained} with {digests[0][:16]}, "
            f"found {source.file}, {source.name} with {digests[1][:16]}"
        )
    if source.size != content["arguments"]["inputs"]:
        raise InputError(
            f"{path}: expected frame features of {trained} with {content['arguments']['inputs']} numbers a frame, "
            f"found {source.name} with {source.size}"
        )


def encode_frames(model: nn.Module, skeletons: np.ndarray) -> Tensor:
    """Frame features of skeletons (N, f, J, 3): (N, f, H) on the model's device."""
    return _encode(model, skeletons, method_of(model).frames)


def encode_set(model: nn.Module, skeletons: np.ndarray) -> Tensor:
    """Sequence features of skeletons (N, f, J, 3): (N, H) on the model's device."""
    return method_of(model).sequence(encode_frames(model, skeletons))


def encode_rows(model: nn.Module, skeletons: np.ndarray, settings: Mapping[str, Any]) -> Tensor:
    """What the model's recogniser is given of skeletons (N, f, J, 3): (N, R, d) on the model's
    device.
    """
    rows = method_of(model).rows
    return _encode(model, skeletons, lambda model, batch: rows(model, batch, settings))


@torch.no_grad()
def _encode(
    model: nn.Module, skeletons: np.ndarray, encode: Callable[[nn.Module, Tensor], Tensor]
) -> Tensor:
    device, frames = next(model.parameters()).device, method_of(model).batch
    batches = torch.from_numpy(skeletons).split(max(1, frames // skeletons.shape[1]))
    return torch.cat([encode(model, batch.to(device)) for batch in batches])


def score_encoder(model: nn.Module, sets: Retrieval, protocol_name: str) -> dict[str, Any]:
    """Retrieval figures of a model on a data set."""
    features = (
        encode_set(model, part.skeletons) for part in (sets.probe, sets.gallery)
    )  # (N, H) each
    return protocol.score(sets, *features, protocol_name)


def score_checkpoint(
    path: Path,
    sets: Retrieval,
    protocol_name: str,
    device: torch.device,
    source: "Source | None" = None,
) -> dict[str, Any]:
    """Retrieval figures of a checkpoint on a data set, with the epoch that it was saved at.

    source: whose frame features the sets hold, if not skeletons.
    """
    model, content = load_model(path, sets.joints, sets.length, device, source)
    return {**score_encoder(model, sets, protocol_name), "epoch": content["epoch"]}


def save_features(
    path: Path,
    saved: Path,
    args: argparse.Namespace,
    device: torch.device,
    source: "Source | None" = None,
) -> None:
    """Write the features of train, probe and gallery, in the order of the data files, by a saved
    model.

    source: whose frame features the model is given, if not skeletons.
    """
    centred = source.centred if source else read_header(saved)["settings"].get("centred", True)
    sets = load_stored(args, centred)
    model, _ = load_model(saved, sets.joints, sets.length, device, source)
    sets = source.frames(sets) if source else sets
    write_features(path, model, {"train": sets.train, "probe": sets.probe, "gallery": sets.gallery})


def write_features(path: Path, model: nn.Module, sets: Mapping[str, Sequences]) -> None:
    """Write the sequence and frame features of some sets, a file each."""
    for part, sequences in sets.items():
        frames = encode_frames(model, sequences.skeletons).cpu()
        file, whole = part_path(path, part), method_of(model).sequence(frames)
        write(file, Features(whole.numpy(), sequences.labels, frames.numpy()))
        log.info(f"wrote {file}")
