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
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from torch import nn

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import read_arrays, write_whole
from skeleton_reid.data import datasets
from skeleton_reid.data.files import LARGEST_COORDINATE
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.encoding import encode_set, is_centred, load_model
from skeleton_reid.engine.options import PublishedOptions
from skeleton_reid.engine.settings import settings_of
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
    named = [name for name in datasets.DATASETS if name in str(path)]
    dataset = published.get("dataset", named[0] if len(named) == 1 else None)
    options = PublishedOptions(**published | {"dataset": dataset and datasets.get(dataset)})
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
        self.centred = is_centred(settings_of(content))
        self.simulated = content.get("data", {}).get("simulated")  # None: not known
        self.knows = content.get("knows", "nothing")  # of the recordings, in training
        self.digest = checkpoint.weights_digest(model)
        self.size = self.encode(np.zeros((1, self.length, self.joints, 3))).shape[1]  # d

    def __str__(self) -> str:
        simulated = " (simulated)" * bool(self.simulated)
        knows = f", knows {self.knows}" * (self.knows != "nothing")
        return f"{self.method} on {self.dataset}{simulated}, f = {self.length}{knows}"

    def __call__(self, frames: Any) -> np.ndarray:
        """The feature (d,) of a recording (T, J, 3): the mean over its half-overlapping windows."""
        return self.windows(frames).mean(axis=0)

    def windows(self, frames: Any, step: int | None = None) -> np.ndarray:
        """Features (N, d) float32 of the windows of f frames, one every `step` frames (f / 2), of a
        recording (T, J, 3). InputError for another shape, too few frames and lost joints (NaN).
        """
        step = max(1, self.length // 2) if step is None else step
        frames = self._checked(frames, ("T", self.joints, 3))
        if len(frames) < self.length or step < 1:
            raise InputError(f"expected at least {self.length} frames and a step of at least 1, "
                             f"found {len(frames)} and {step}")
        first = np.arange(0, len(frames) - self.length + 1, step)
        return self.encode(frames[first[:, None] + np.arange(self.length)])

    def encode(self, windows: Any) -> np.ndarray:
        """Features (N, d) float32 of windows (N, f, J, 3), such as those of preprocessed data."""
        windows = self._checked(windows, ("N", self.length, self.joints, 3))
        if self.centred:
            windows = windows - self.skeleton.mean(self.skeleton.root, windows)
        return encode_set(self.model, windows.astype(np.float32)).cpu().numpy()

    def _checked(self, values: Any, shape: tuple[str | int, ...]) -> np.ndarray:
        """The values in float64. InputError unless they are finite numbers of this shape."""
        expected = f"expected finite numbers ({', '.join(map(str, shape))}) for {self}, found"
        try:
            array = np.asarray(values)
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


class Gallery:
    """People by the mean features of their recordings, one a recording."""
    def __init__(self, encoder: Encoder, threshold: float = math.inf):
        self.encoder = encoder
        self.threshold = threshold  # distance beyond which a recording is nobody's
        self.search = "torch"  # of the nearest; or "faiss", which gives the same answers
        self.names: list[str] = []  # of the enrolled recordings
        self.features = np.empty((0, encoder.size), dtype=np.float32)  # (recordings, d)

    def __str__(self) -> str:
        counts = f"{len(set(self.names))} persons, {len(self.names)} recordings"
        return f"{counts}, threshold {self.threshold:.4g}, {self.encoder}"

    def add(self, name: str, frames: Any) -> None:
        """Enrol a recording (T, J, 3) of a person, who may have others."""
        self.add_features(name, self.encoder.windows(frames))

    def add_features(self, name: str, windows: np.ndarray) -> None:
        """The same with the features (N, d) of the recording's windows."""
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise InputError(f"expected a name of letters that can be seen, found {name!r}")
        self.features = np.vstack([self.features, windows.mean(axis=0)])
        self.names.append(name)

    def remove(self, name: str) -> None:
        """Remove all recordings of a person. InputError if nobody has this name."""
        kept = [own != name for own in self.names]
        if all(kept):
            raise InputError(f"expected the name of an enrolled person, found {name!r}")
        self.features = self.features[kept]
        self.names = [own for own in self.names if own != name]

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
        most = max(Counter(self.names).values())  # recordings of a person
        nearest = nearest_rows(windows.mean(axis=0), self.features, count * most, self.search)
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
        header = {"format": FORMAT, "encoder": self.encoder.origin, "digest": self.encoder.digest}
        header = json.dumps(header | {"names": self.names, "threshold": self.threshold})
        write_whole(Path(path), lambda x: np.savez(x, header=header, features=self.features))

    @classmethod
    def load(cls, path: str | Path, encoder: Encoder | None = None,
             device: str = "auto") -> "Gallery":
        """Read a gallery. encoder: its own (else InputError), where the checkpoint has moved.
        device: of the encoder, if it is not given.
        """
        names = ("header", "features")
        arrays = read_arrays(Path(path), names, "gallery", "gallery.py add makes one")
        header = json.loads(str(arrays.get("header", "{}")))
        if header.get("format") != FORMAT or "features" not in arrays:
            raise InputError(f"{path}: expected a gallery ({FORMAT}), found another archive")
        encoder = encoder or load(device=device, **header["encoder"])
        if encoder.digest != header["digest"]:
            own = header["encoder"]["path"]
            raise InputError(f"{path} needs the encoder {own}, found other weights")
        gallery = cls(encoder, header["threshold"])
        gallery.names, gallery.features = header["names"], arrays["features"]
        return gallery
