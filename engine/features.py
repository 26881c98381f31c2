"""Feature files, and frame features in place of coordinates (--source): of a trained encoder (AGE,
SM-SGE, FILE.pt), or FILE.train.npz, FILE.probe.npz, FILE.gallery.npz in the data files' order.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import read_arrays, write_whole
from skeleton_reid.common.log import log
from skeleton_reid.data import Retrieval, Sequences
from skeleton_reid.data.files import provenance
from skeleton_reid.engine.checkpoint import expect_windows, weights_digest
from skeleton_reid.engine.encoding import encode_frames, load_model
from skeleton_reid.engine.methods import METHODS, settings_of
from skeleton_reid.engine.options import PhaseOptions, TrainingOptions
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.statistics import frame_descriptor, frame_size

PARTS = ("train", "probe", "gallery")
# Methods with a phase for an encoder, which --source can name.
SOURCES = [own.name for own in METHODS.values() if issubclass(own.options, PhaseOptions)]
TYPES = {"features": np.float32, "labels": np.int64, "frames": np.float32}


@dataclass(frozen=True)
class Features:
    """What a feature file holds: an .npz with an array for each."""

    features: np.ndarray  # of sequences, (N, d) float32, or float64 if the file has that
    labels: np.ndarray  # (N,) int64
    frames: np.ndarray | None = None  # (N, f, d) float32


def part_path(path: Path, part: str) -> Path:
    """FILE.npz -> FILE.train.npz, FILE.probe.npz, ..."""
    return path.with_name(f"{path.name.removesuffix('.npz')}.{part}.npz")


def encode(model: nn.Module, sequences: Sequences) -> Features:
    """Sequence and frame features of a set by a model."""
    frames = encode_frames(model, sequences.skeletons)  # (N, f, d)
    whole = model.pool(frames)
    return Features(whole.cpu().numpy(), sequences.labels, frames.cpu().numpy())


def write_features(path: Path, model: nn.Module, sets: Mapping[str, Sequences]) -> None:
    """Write the features of some sets, a file each, whole or not at all (InputError)."""
    for part, sequences in sets.items():
        file = part_path(path, part)
        write_whole(file, partial(np.savez, **vars(encode(model, sequences))))
        log.info(f"wrote {file}")


def read(path: Path) -> Features:
    """Read one feature file. Raises InputError if it is missing, damaged, pickled or misshapen."""
    arrays = read_arrays(path, TYPES, "feature file", "--save_features FILE.npz writes one")
    if problem := _problem(arrays):
        raise InputError(f"{path}: expected {problem}")
    whole = arrays["features"].astype(np.result_type(arrays["features"], np.float32))
    arrays = {name: array.astype(TYPES[name]) for name, array in arrays.items()}
    return Features(**arrays | {"features": whole})


def _problem(arrays: Mapping[str, np.ndarray]) -> str | None:
    """What the arrays of a feature file should be and are not; None if they are right."""
    for name, axes in (("features", 2), ("labels", 1), ("frames", 3)):
        shape = arrays[name].shape if name in arrays else None
        if len(shape or ()) != axes and (shape is not None or name != "frames"):
            return f"an array {name!r} with {axes} axes, found {'none' if shape is None else shape}"
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        return f"arrays of one length, found {sizes}"
    if not len(arrays["labels"]):
        return "features of sequences, found none"
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            return f"numbers in {name!r}, found type {array.dtype}"
        if not np.isfinite(array).all():
            return f"finite {name}, found NaN or infinite values"
    return "whole numbers in 'labels'" if (np.mod(arrays["labels"], 1) != 0).any() else None


@dataclass(frozen=True)
class Source:
    """Where frame features come from."""

    name: str  # as results call it
    file: Path  # what they are made by or read from
    note: str  # for the log
    digest: str  # of the encoder's weights or of the training frames
    size: int  # numbers d in a frame
    centred: bool  # the skeletons that the encoder takes
    features: Callable[[str, Sequences], Features]  # of a part (its name) in the order of the files

    def frames(self, sets: Retrieval) -> Retrieval:
        """The sets, in the order of the files, with frame features (N, f, d) for skeletons."""
        parts = {name: part for name in PARTS if (part := getattr(sets, name)) is not None}
        frames = {n: replace(p, skeletons=self.features(n, p).frames) for n, p in parts.items()}
        return replace(sets, **frames)


def find_source(name: str | None, options: TrainingOptions, device: torch.device,
                size: int | None = None) -> Source | None:
    """The source that --source names, if any. Raises InputError if it is not there or of no use.
    size: numbers in a frame, where they are known, and with them --source_features.
    """
    if name is None:
        return None
    if name == "statistics":  # no encoder
        joints = len(options.dataset.skeleton)
        return Source(name, Path(name), "descriptor of frames, no encoder", name,
                      frame_size(joints), True, describe)
    path = encoder_path(name, options) if name in SOURCES else Path(name)
    if path.suffix == ".npz":
        return _source_of_files(path, options)
    if path.suffix == ".pt":
        return _source_of_encoder(path, options, device, size)
    known = ", ".join(SOURCES)
    raise InputError(f"--source: expected {known}, statistics, FILE.pt or FILE.npz, found {name!r}")


def describe(part: str, sequences: Sequences) -> Features:
    """The descriptor of window statistics of every frame, and its mean over a window's frames."""
    frames = frame_descriptor(torch.from_numpy(sequences.skeletons)).numpy()  # (N, f, d)
    return Features(frames.mean(axis=1), sequences.labels, frames)


def encoder_path(method: str, options: TrainingOptions) -> Path:
    """The saved encoder of a method that has seen the training split alone; InputError if none."""
    variant = METHODS[method].settings().variant  # the default one
    row, folder = options.dataset, options.out / method / options.dataset.name
    places = [folder / f"{variant}_retrieval" / "encoder" / "best.pt"]
    if row.recognition and not row.recognition_train and not row.recognition_tested_only:
        places.append(folder / variant / "encoder" / "best.pt")  # trained on the same set
    for path in places:
        if path.is_file():
            return path
    command = f"python {METHODS[method].script} --dataset {row.name} --task retrieval"
    raise InputError(f"--source {method}: expected an encoder at {' or '.join(map(str, places))}, "
                     f"found none; train it: {command} --length {options.length} "
                     f"--data {options.data} --out {options.out}; or name one, FILE.pt")


def _source_of_encoder(path: Path, options: TrainingOptions, device: torch.device,
                       size: int | None) -> Source:
    row = options.dataset
    model, content = load_model(path, row.skeleton, options.length, device)
    learned = settings_of(content).supervision or "none"
    if learned != "none" and content.keys() & {"probe", "recogniser"}:  # no phase without labels
        raise InputError(f"{path}: expected an encoder without supervision, found {learned}; name "
                         "one trained by --task retrieval, encoder/best.pt")
    if content["dataset"] == row.name:
        expect_windows(path, content, provenance(row, options.length, options.data))
    pose = np.zeros((1, options.length, len(row.skeleton), 3), dtype=np.float32)
    seen = row.recognition_train if content.get("task", "retrieval") != "retrieval" else ()
    trained = " + ".join(("train", *seen))
    note = f"{content['method']}, epoch {content['epoch']}, trained on {trained}"
    encodings = {"nodes": model.source_frames, "states": model.embed}
    sizes = {name: encode_frames(model, pose, own).shape[2] for name, own in encodings.items()}
    same = type(model).source_frames is EmbeddingModel.source_frames
    kind = getattr(options, "source_features", "nodes")
    if size not in (None, sizes[kind]):
        kind = "states"

    def look_up(part: str, sequences: Sequences) -> Features:
        own = encode(model, sequences)
        if kind == "states" or same:
            return own
        frames = encode_frames(model, sequences.skeletons, model.source_frames)
        return replace(own, frames=frames.cpu().numpy())

    name = content["method"] + ("-states" if kind == "states" and not same else "")
    return Source(name, path, note, f"weights {weights_digest(model)}", sizes[kind],
                  settings_of(content).centred, look_up)


def _source_of_files(path: Path, options: TrainingOptions) -> Source:
    """Feature files of any model; checked against the data's labels where they are used."""
    files = {part: part_path(path, part) for part in PARTS}
    contents = {part: read(file) for part, file in files.items()}
    shapes = {part: getattr(content.frames, "shape", None) for part, content in contents.items()}
    size = (shapes["train"] or (0,))[-1]
    for part, shape in shapes.items():
        if shape is None or shape[1:] != (options.length, size):
            wanted = f"frame features `frames` (N, {options.length}, d), d as in the training's"
            raise InputError(f"{files[part]}: expected {wanted}, found {shape}")

    def look_up(part: str, sequences: Sequences) -> Features:
        if not np.array_equal(contents[part].labels, sequences.labels):
            raise InputError(f"{files[part]}: expected the {len(sequences)} labels of "
                             f"{options.dataset.name}'s {part} windows in the order of the files")
        return contents[part]

    digest = hashlib.sha256(np.ascontiguousarray(contents["train"].frames)).hexdigest()
    return Source(path.stem, path, "feature files", f"frames {digest}", size, True, look_up)
