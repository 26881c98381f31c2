"""The toolkit from Python: features of recordings, and a gallery that recognises people.

    encoder = skeleton_reid.load("ReID_Models/KS20/probe/best.pt")    # or the authors' .ckpt
    frames = skeleton_reid.read("walk.csv", "my_data.yaml")           # pieces (T, J, 3)
    vector = encoder(frames)                                          # (d,)
    gallery = skeleton_reid.Gallery(encoder)
    gallery.add("anna", frames)
    gallery.save("people.gallery")
    gallery.identify(frames)                                # [Match(name, distance, votes), ...]

A recording is an array, a tensor or lists of frames (T, J, 3), T >= f, with the joints in the order
and unit of the training data, or the list of such pieces that `read` returns. All that can be wrong
with it or with a file is an InputError.
"""

import json
import math
import re
import warnings
from collections import Counter
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from scipy.spatial.distance import cdist
from torch import nn

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import composed, read_arrays, write_whole
from skeleton_reid.common.numbers import unmasked
from skeleton_reid.data import datasets
from skeleton_reid.data.files import LARGEST_COORDINATE
from skeleton_reid.data.loader import DataWarning
from skeleton_reid.data.plausible import doubts_of
from skeleton_reid.data.raw.own import read_recording
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.encoding import encode_set, load_model
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.options import PublishedOptions
from skeleton_reid.engine.published import open_checkpoint
from skeleton_reid.open_set import SAME, nearest_rows
from skeleton_reid.reid.neighbours import faiss_index

__all__ = ["Encoder", "Gallery", "InputError", "Match", "load", "read"]
FORMAT = "skeleton-reid gallery 1"
WEIGHTS = Path(__file__).parents[1] / "weights"  # what `make weights` writes


def load(path: str | Path, device: str = "auto", **published: Any) -> "Encoder":
    """The encoder of a checkpoint: best.pt of a run, a TensorFlow one of the authors, or, by name,
    one of weights/, such as "kgbd-statistics".

    published: what the authors' files do not tell, by the names of evaluate.py's options: length,
    set, and dataset unless the path has its name (docs/6-formats.md). InputError for a file without
    an encoder, and for one that reads another model's features.
    """
    if re.fullmatch("kgbd-[a-z]+", str(path)):
        path = WEIGHTS / f"{path}.pt"
        if not path.is_file():
            raise InputError(f"no weights at {path}: make weights RAW=DIR trains them from KGBD, "
                             "which is free to download (docs/1-data.md)")
    words = re.findall("|".join(rf"(?<![^\W_]){name}(?![^\W_])" for name in datasets.DATASETS),
                       str(path))
    dataset = published.get("dataset", words[-1] if words else None)
    try:
        options = PublishedOptions(**published | {"dataset": dataset and datasets.get(dataset)})
    except TypeError as error:
        raise InputError(f"expected options of evaluate.py, found {error}") from error
    file, content = open_checkpoint(Path(path), options)
    skeleton, length = datasets.restore(content).skeleton, content["length"]
    model, _ = load_model(file, skeleton, length, pick_device(device), content=content)
    return Encoder(model, content, {"path": str(Path(path).absolute()), **published})


def read(path: str | Path, description: str | Path | datasets.Dataset | None = None,
         person: str | None = None) -> list:
    """A recording as training has it: pieces (T, J, 3), cut where joints are lost, in metres with y
    up. description: the YAML file of its format (docs/9-own-data.md), whose table says which track
    is followed; None: an array FILE.npy as it is. person: which of several whom the table names in
    the file. InputError for another file, for one without a whole frame, and where `person` is
    needed; DataWarning of several people, of whom one is followed, and of what preprocess.py
    would warn of: size, up, rest, speed.
    """
    if description is None:
        try:
            return [np.load(path, allow_pickle=False)]
        except (OSError, ValueError, EOFError) as error:
            found = getattr(error, "strerror", None) or "another or a damaged file"
            raise InputError(
                f"{path}: expected a recording (T, J, 3) in FILE.npy, found {found}; "
                "another format needs its --dataset FILE.yaml (docs/9-own-data.md)") from error
    dataset = datasets.get(description)
    if dataset.source is None:
        raise InputError(
            f"expected recordings: files with the FILE.yaml that describes them, found "
            f"{dataset.name}, whose files are preprocess.py's")
    recording = read_recording(Path(path), dataset, person)
    if others := recording.lost.get("frames with several people"):
        warnings.warn(f"{path}: {others} frames with several people, one is followed", DataWarning,
                      stacklevel=2)
    if not (pieces := recording.sequences()):
        lost = ", ".join(f"{n} {cause}" for cause, n in recording.lost.items() if n)
        raise InputError(f"{path}: expected a recording, no frame has all joints ({lost})")
    if found := doubts_of(recording, dataset.skeleton):
        warnings.warn(f"{path} looks wrong: {', '.join(found)}", DataWarning, stacklevel=2)
    return pieces


class Encoder:
    """A trained model and what its checkpoint says. origin: the arguments of `load`."""
    def __init__(self, model: nn.Module, content: dict[str, Any], origin: dict[str, Any]):
        self.model, self.origin = model, origin
        self.method, self.dataset = content["method"], content["dataset"]
        self.skeleton, self.length = datasets.restore(content).skeleton, content["length"]
        self.joints = self.skeleton.joints  # their names, in the order of the frames
        settings = settings_of(content)
        self.centred, self.supervision = settings.centred, settings.supervision or "none"
        self.simulated = content.get("data", {}).get("simulated")  # None: not known
        self.digest = checkpoint.weights_digest(model)
        self.size = self.encode(np.zeros((1, self.length, len(self.joints), 3))).shape[1]  # d

    def __repr__(self) -> str:
        simulated = " (simulated)" if self.simulated else ""
        supervision = f", supervision: {self.supervision}" if self.supervision != "none" else ""
        return f"{self.method} on {self.dataset}{simulated}, f = {self.length}{supervision}"

    def __call__(self, frames: Any) -> np.ndarray:
        """The feature (d,) of a recording: the mean over its half-overlapping windows."""
        return self.windows(frames).mean(axis=0)

    def windows(self, frames: Any, step: int | None = None) -> np.ndarray:
        """Features (N, d) float32 of the windows of f frames, one every `step` frames (f / 2), of a
        recording. InputError for another shape, too few frames and lost joints (NaN).
        """
        step = max(1, self.length // 2) if step is None else step
        is_cut = isinstance(frames, list) and all(np.ndim(piece) == 3 for piece in frames)
        pieces = [
            self.checked(piece, ("T", len(self.joints), 3))
            for piece in (frames if is_cut else [frames])
        ]
        longest = max(map(len, pieces))
        if longest < self.length or not isinstance(step, Integral) or step < 1:
            raise InputError(f"expected at least {self.length} frames and a whole step from 1 "
                             f"on, found {longest} and {step!r}")
        windows = [
            piece[first:first + self.length] for piece in pieces
            for first in range(0,
                               len(piece) - self.length + 1, step)
        ]
        return self.encode(np.stack(windows))

    def encode(self, windows: Any) -> np.ndarray:
        """Features (N, d) float32 of windows (N, f, J, 3), such as those of preprocessed data."""
        windows = self.checked(windows, ("N", self.length, len(self.joints), 3))
        if self.centred:
            windows = windows - self.skeleton.mean(self.skeleton.root, windows)
        return encode_set(self.model, windows.astype(np.float32)).cpu().numpy()

    def checked(self, values: Any, shape: tuple[str | int, ...]) -> np.ndarray:
        """The values in float64. InputError unless they are finite numbers of this shape, not none;
        masked ones are not finite.
        """
        expected = f"expected finite numbers ({', '.join(map(str, shape))}) for {self}, found"
        try:
            array = np.asarray(unmasked(values))
            numbers = array.astype(np.float64, casting="same_kind")
        except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, a tensor on a GPU
            raise InputError(f"{expected} {error}") from error
        if array.ndim != len(shape) or array.shape[1:] != shape[1:] or not len(array):
            raise InputError(f"{expected} {array.shape}")
        if lost := np.count_nonzero(~(abs(numbers) < LARGEST_COORDINATE)):
            raise InputError(f"{expected} {lost} NaN or too large; drop frames with lost joints")
        return numbers


class Match(NamedTuple):
    """A person who may be the one of a recording."""

    name: str
    distance: float  # of the recording's mean feature from the person's nearest enrolled one
    votes: float  # share of the recording's windows that this one is nearest to, of the matches;

    # a window's vote is shared among those who are as near

    def __repr__(self) -> str:
        return f"{self.name} {self.distance:.3f} ({self.votes:.0%})"


class Header(msgspec.Struct):
    """What a gallery's file says beside the features."""

    format: Literal[FORMAT]
    encoder: dict[str, str | int | list[str] | None]  # the arguments of `load`
    digest: str  # of its weights
    names: list[Annotated[str, msgspec.Meta(pattern=r"\S")]]
    threshold: Annotated[float, msgspec.Meta(ge=0)]


class Gallery:
    """People by the mean features of their recordings, one a recording."""
    def __init__(self, encoder: Encoder, threshold: float = math.inf):
        self.encoder = encoder
        self.threshold = threshold  # distance beyond which a recording is nobody's
        self.search = "torch"  # of the nearest; or "faiss", which gives the same answers
        self._owners: dict[bytes, list[str]] = {}  # names by the bytes of a recording's feature
        self._index: Any = None  # faiss's, of the features

    @property
    def names(self) -> list[str]:
        """The person of each enrolled recording."""
        return [name for owners in self._owners.values() for name in owners]

    @property
    def features(self) -> np.ndarray:
        """Of the enrolled recordings, (recordings, d) float32."""
        rows = b"".join(row * len(owners) for row, owners in self._owners.items())
        return np.frombuffer(rows, np.float32).reshape(-1, self.encoder.size)

    def __repr__(self) -> str:
        names = self.names
        counts = f"{len(set(names))} persons, {len(names)} recordings"
        open_to_all = " (everybody is named)" if self.threshold == math.inf else ""
        return f"{counts}, threshold {self.threshold:.4g}{open_to_all}, {self.encoder}"

    def add(self, name: str, frames: Any) -> None:
        """Enrol a recording of a person, who may have others."""
        self.add_features(name, self.encoder.windows(frames))

    def add_features(self, name: str, windows: Any, title: str = "this recording") -> None:
        """The same with the features (N, d) of the recording's windows. A DataWarning, which calls
        it by its title, if it is enrolled; of the same person it is not enrolled again.
        """
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise InputError(f"expected a name of letters that can be seen, found {name!r}")
        name, mean = composed(name).strip(), self._checked(windows).mean(axis=0)
        owners = self._owners.setdefault(mean.tobytes(), [])
        if owners:
            then = "it is not enrolled again" if name in owners else f"now it is {name}'s, too"
            warnings.warn(f"{title} is enrolled as {owners[0]}'s: {then}", DataWarning,
                          stacklevel=2)
        if name not in owners:
            owners.append(name)
            self._index = None

    def remove(self, name: str) -> None:
        """Remove all recordings of a person. InputError if nobody has this name."""
        name, names = composed(name).strip(), self.names
        if name not in names:
            raise InputError(f"expected the name of an enrolled person, found {name!r}")
        kept = ((row, [own for own in owners if own != name])
                for row, owners in self._owners.items())
        self._owners, self._index = {row: owners for row, owners in kept if owners}, None

    def _checked(self, windows: Any) -> np.ndarray:
        """Features of windows, (N, d) float32; InputError for others."""
        return self.encoder.checked(windows, ("N", self.encoder.size)).astype(np.float32)

    def identify(self, frames: Any) -> list[Match]:
        """The persons, nearest first, at most 5, within the threshold of a recording."""
        matches = self.nearest(self.encoder.windows(frames))
        return [match for match in matches if match.distance <= self.threshold]

    def nearest(self, windows: np.ndarray, count: int = 5) -> list[Match]:
        """The `count` nearest persons, whatever the threshold, to window features (N, d); of equals
        the one enrolled first. InputError if nobody is enrolled.
        """
        names, features, windows = self.names, self.features, self._checked(windows)
        if not names:
            raise InputError("nobody is enrolled: add recordings to the gallery first")
        if self.search == "faiss" and self._index is None:
            self._index = faiss_index(features)
        most = max(Counter(names).values())  # recordings of a person
        numbers, distances = nearest_rows(windows.mean(axis=0), features, count * most, self.search,
                                          self._index)
        places = {}  # of each person's nearest recording, by name
        for place, number in enumerate(numbers):
            places.setdefault(names[number], place)
        own = list(places.values())[:count]
        apart = cdist(windows, features[numbers[own]])  # (N, matches)
        nearest = apart <= apart.min(axis=1, keepdims=True) + SAME
        votes = (nearest / nearest.sum(axis=1, keepdims=True)).mean(axis=0)  # equals share them
        return list(map(Match, places, distances[own].tolist(), votes.tolist()))

    def save(self, path: str | Path) -> None:
        """Write the gallery, whole or not at all: an .npz archive without pickles."""
        about = self.encoder.origin, self.encoder.digest, self.names, float(self.threshold)
        header = json.dumps(msgspec.to_builtins(Header(FORMAT, *about)))
        write_whole(Path(path), lambda x: np.savez(x, header=header, features=self.features))

    @classmethod
    def load(cls, path: str | Path, encoder: Encoder | None = None,
             device: str = "auto") -> "Gallery":
        """Read a gallery. encoder: its own (else InputError), where the checkpoint has moved.
        device: of the encoder, if it is not given.
        """
        kind = "gallery", "gallery.py add FILE --checkpoint makes one"
        arrays = read_arrays(Path(path), ("header", "features"), *kind)
        try:
            header = msgspec.convert(json.loads(str(arrays["header"])), Header)
            features, count = arrays["features"], len(header.names)
            origin = {**header.encoder, "path": str(header.encoder["path"])}
            is_whole = features.dtype.kind == "f" and features.shape[:1] == (count,)
            if not is_whole or not np.isfinite(features).all():
                raise ValueError(f"{count} names and features {features.dtype} {features.shape}, "
                                 "or not all finite")
        except (KeyError, ValueError, msgspec.ValidationError) as error:
            raise InputError(f"{path}: expected a gallery ({FORMAT}), found {error}") from error
        encoder = encoder or load(**origin | {"device": device})
        if (encoder.digest, encoder.size) != (header.digest, *features.shape[1:]):
            raise InputError(f"{path} needs the encoder {origin['path']} of {features.shape[1:]} "
                             f"numbers, found other weights, of {encoder.size}")
        gallery = cls(encoder, header.threshold)
        for name, row in zip(header.names, features.astype(np.float32), strict=True):
            gallery._owners.setdefault(row.tobytes(), []).append(composed(name))
        return gallery
