"""The toolkit from Python: features of recordings, and a gallery that recognises people.

    encoder = skeleton_reid.load("ReID_Models/KS20/probe/best.pt")    # or the authors' .ckpt
    vector = encoder(frames)                                          # (T, J, 3) -> (d,)
    gallery = skeleton_reid.Gallery(encoder)
    gallery.add("anna", frames)
    gallery.save("people.gallery")
    gallery.identify(frames)                                # [Match(name, distance, votes), ...]

`frames` are what the sensor gives, as an array, a tensor or lists: T >= f frames of J joints, in
the order and unit of the training data. All that can be wrong with them or a file is an InputError.
"""

import json
import math
import re
import warnings
from collections import Counter
from itertools import compress
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, NamedTuple

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
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.encoding import encode_set, load_model
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.options import PublishedOptions
from skeleton_reid.reid.neighbours import faiss_index
from skeleton_reid.reid.open_set import nearest_rows
from skeleton_reid.tensorflow_v1.convert import open_checkpoint

__all__ = ["Encoder", "Gallery", "InputError", "Match", "load"]
FORMAT = "skeleton-reid gallery 1"
CANDIDATES = 5  # persons that identification names


def load(path: str | Path, device: str = "auto", **published: Any) -> "Encoder":
    """The encoder of a checkpoint: best.pt of a run, or a TensorFlow one of the authors.

    published: what the authors' files do not tell, by the names of evaluate.py's options: length,
    set, and dataset unless the path has its name (docs/6-formats.md). InputError for a file without
    an encoder, and for one that reads another model's features.
    """
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


class Encoder:
    """A trained model and what its checkpoint says. origin: the arguments of `load`."""
    def __init__(self, model: nn.Module, content: dict[str, Any], origin: dict[str, Any]):
        self.model, self.origin = model, origin
        self.method, self.dataset = content["method"], content["dataset"]
        self.skeleton, self.length = datasets.restore(content).skeleton, content["length"]
        self.joints = len(self.skeleton)
        settings = settings_of(content)
        self.centred, self.supervision = settings.centred, settings.supervision or "none"
        self.simulated = content.get("data", {}).get("simulated")  # None: not known
        self.digest = checkpoint.weights_digest(model)
        self.size = self.encode(np.zeros((1, self.length, self.joints, 3))).shape[1]  # d

    def __str__(self) -> str:
        simulated = " (simulated)" * bool(self.simulated)
        supervision = f", supervision: {self.supervision}" if self.supervision != "none" else ""
        return f"{self.method} on {self.dataset}{simulated}, f = {self.length}{supervision}"

    def __call__(self, frames: Any) -> np.ndarray:
        """The feature (d,) of a recording (T, J, 3): the mean over its half-overlapping windows."""
        return self.windows(frames).mean(axis=0)

    def windows(self, frames: Any, step: int | None = None) -> np.ndarray:
        """Features (N, d) float32 of the windows of f frames, one every `step` frames (f / 2), of a
        recording (T, J, 3). InputError for another shape, too few frames and lost joints (NaN).
        """
        step = max(1, self.length // 2) if step is None else step
        frames = self.checked(frames, ("T", self.joints, 3))
        if len(frames) < self.length or not isinstance(step, Integral) or step < 1:
            raise InputError(f"expected at least {self.length} frames and a whole step from 1 "
                             f"on, found {len(frames)} and {step!r}")
        first = np.arange(0, len(frames) - self.length + 1, step)
        return self.encode(frames[first[:, None] + np.arange(self.length)])

    def encode(self, windows: Any) -> np.ndarray:
        """Features (N, d) float32 of windows (N, f, J, 3), such as those of preprocessed data."""
        windows = self.checked(windows, ("N", self.length, self.joints, 3))
        if self.centred:
            windows = windows - self.skeleton.mean(self.skeleton.root, windows)
        return encode_set(self.model, windows.astype(np.float32)).cpu().numpy()

    def checked(self, values: Any, shape: tuple[str | int, ...]) -> np.ndarray:
        """The values in float64. InputError unless they are finite numbers of this shape; masked
        ones are not.
        """
        expected = f"expected finite numbers ({', '.join(map(str, shape))}) for {self}, found"
        try:
            array = np.asarray(unmasked(values))
            numbers = array.astype(np.float64, casting="same_kind")
        except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, a tensor on a GPU
            raise InputError(f"{expected} {error}") from error
        if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
            raise InputError(f"{expected} {array.shape}")
        if lost := np.count_nonzero(~(abs(numbers) < LARGEST_COORDINATE)):
            raise InputError(f"{expected} {lost} NaN or too large; drop frames with lost joints")
        return numbers


class Match(NamedTuple):
    """A person who may be the one of a recording."""

    name: str
    distance: float  # of the recording's mean feature from the person's nearest enrolled one
    votes: float  # share of the recording's windows that this one is nearest to, of the matches


class Header(msgspec.Struct):
    """What a gallery's file says beside the features."""

    format: str
    encoder: dict[str, str | int | list[str] | None]  # the arguments of `load`
    digest: str  # of its weights
    names: list[Annotated[str, msgspec.Meta(pattern=r"\S")]]
    threshold: Annotated[float, msgspec.Meta(ge=0)]

    def check(self, features: np.ndarray) -> None:
        """ValueError for what does not go together."""
        rows, shape = len(self.names), features.shape
        path = self.encoder.get("path")
        if self.format != FORMAT or not isinstance(path, str) or not path:
            raise ValueError(f"{self.format!r} of the encoder {self.encoder}")
        if len(shape) != 2 or len(features) != rows or features.dtype.kind != "f":
            raise ValueError(f"{rows} names and features {features.dtype} {shape}")
        if not np.isfinite(features).all():
            raise ValueError("features that are not finite")


def _is_name(name: Any) -> bool:
    """Whether somebody can have this name."""
    return isinstance(name, str) and name.isprintable() and bool(name.strip())


class Gallery:
    """People by the mean features of their recordings, one a recording."""
    def __init__(self, encoder: Encoder, threshold: float = math.inf):
        self.encoder = encoder
        self.threshold = threshold  # distance beyond which a recording is nobody's
        self.search = "torch"  # of the nearest; or "faiss", which gives the same answers
        self.names: list[str] = []  # of the enrolled recordings
        self._rows = np.empty((0, encoder.size), dtype=np.float32)  # their features, room for more
        self._owners: dict[bytes, list[str]] = {}  # names by the bytes of a feature
        self._index: Any = None  # faiss's, of the features

    @property
    def features(self) -> np.ndarray:
        """Of the enrolled recordings, (recordings, d) float32."""
        return self._rows[:len(self.names)]

    def __str__(self) -> str:
        counts = f"{len(set(self.names))} persons, {len(self.names)} recordings"
        return f"{counts}, threshold {self.threshold:.4g}, {self.encoder}"

    def add(self, name: str, frames: Any) -> None:
        """Enrol a recording (T, J, 3) of a person, who may have others."""
        self.add_features(name, self.encoder.windows(frames))

    def add_features(self, name: str, windows: Any, title: str = "this recording") -> None:
        """The same with the features (N, d) of the recording's windows. A DataWarning, which calls
        it by its title, if it is enrolled; of the same person it is not enrolled again.
        """
        if not _is_name(name):
            raise InputError(f"expected a name of letters that can be seen, found {name!r}")
        name, mean = composed(name).strip(), self._checked(windows).mean(axis=0)
        owners, count = self._owners.setdefault(mean.tobytes(), []), len(self.names)
        if owners:
            then = "it is not enrolled again" if name in owners else f"now it is {name}'s, too"
            warnings.warn(f"{title} is enrolled as {owners[0]}'s: {then}", DataWarning,
                          stacklevel=2)
        if name not in owners:
            if count == len(self._rows):  # twice the room: to add N recordings costs N copies
                self._rows = np.concatenate(
                    [self._rows,
                     np.empty_like(self._rows, shape=(count + 1, mean.size))])
            self._rows[count], self._index = mean, None
            self.names.append(name)
            owners.append(name)

    def remove(self, name: str) -> None:
        """Remove all recordings of a person. InputError if nobody has this name."""
        kept = [own != composed(name).strip() for own in self.names]
        if all(kept):
            raise InputError(f"expected the name of an enrolled person, found {name!r}")
        self._enrol(list(compress(self.names, kept)), self.features[kept])

    def _enrol(self, names: list[str], features: np.ndarray) -> None:
        """Have these recordings, and no others."""
        self.names, self._rows, self._index, self._owners = names, features, None, {}
        for name, row in zip(names, features, strict=True):
            self._owners.setdefault(row.tobytes(), []).append(name)

    def _checked(self, windows: Any) -> np.ndarray:
        """Features of windows, (N, d) float32; InputError for others."""
        features = self.encoder.checked(windows, ("N", self.encoder.size))
        if not len(features):
            raise InputError("expected features of windows, found none")
        return features.astype(np.float32)

    def identify(self, frames: Any) -> list[Match]:
        """The persons, nearest first, at most 5, within the threshold of a recording (T, J, 3)."""
        matches = self.nearest(self.encoder.windows(frames))
        return [match for match in matches if match.distance <= self.threshold]

    def nearest(self, windows: np.ndarray, count: int = CANDIDATES) -> list[Match]:
        """The `count` nearest persons, whatever the threshold, to window features (N, d); of equals
        the one enrolled first, which also has the vote. InputError if nobody is enrolled.
        """
        if not self.names:
            raise InputError("nobody is enrolled: add recordings to the gallery first")
        windows, most = self._checked(windows), max(Counter(self.names).values())  # of a person
        if self.search == "faiss" and self._index is None:
            self._index = faiss_index(self.features)
        nearest = nearest_rows(windows.mean(axis=0), self.features, count * most, self.search,
                               self._index)
        best: dict[str, tuple[int, float]] = {}
        for number, distance in zip(*nearest, strict=True):
            if len(best) < count:
                best.setdefault(self.names[number], (number, float(distance)))
        rows = self.features[[number for number, _ in best.values()]]  # (matches, d)
        votes = np.bincount(cdist(windows, rows).argmin(axis=1), minlength=len(best)) / len(windows)
        each = zip(best.items(), votes.tolist(), strict=True)
        return [Match(name, distance, share) for (name, (_, distance)), share in each]

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
            values, features = json.loads(str(arrays["header"])), arrays["features"]
            header = msgspec.convert(values, Header)
            header.check(features)
        except (KeyError, ValueError, msgspec.ValidationError) as error:
            raise InputError(f"{path}: expected a gallery ({FORMAT}), found {error}") from error
        encoder = encoder or load(**header.encoder | {"device": device})
        if (encoder.digest, encoder.size) != (header.digest, features.shape[1]):
            raise InputError(
                f"{path} needs the encoder {header.encoder['path']}, of {features.shape[1]} "
                f"numbers, found other weights, of {encoder.size}")
        gallery = cls(encoder, header.threshold)
        gallery._enrol(list(map(composed, header.names)), features.astype(np.float32))
        return gallery
