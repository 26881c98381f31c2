"""People enrolled in a gallery, and who of them a recording may show."""

import json
import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from scipy.spatial.distance import cdist

from skeleton_reid.api import Encoder, load
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import composed, read_arrays, write_whole
from skeleton_reid.data.loader import DataWarning
from skeleton_reid.reid.neighbours import by_faiss, candidates, faiss_index

FORMAT = "skeleton-reid gallery 1"
SAME = 1e-5  # distance up to which features are those of one recording, but for rounding


class Match(NamedTuple):
    """A candidate for the person of a recording."""

    name: str
    distance: float  # of the recording's mean feature from the person's nearest enrolled one
    votes: float  # share of the recording's windows nearest to this one; equals share a window
    recording: str = ""  # the enrolled one, where its name is known

    def __repr__(self) -> str:
        words = ", ".join(filter(None, [f"{self.votes:.0%}", self.recording]))
        return f"{self.name} {self.distance:.3f} ({words})"


class Header(msgspec.Struct):
    """What a gallery's file says beside the features."""

    format: Literal[FORMAT]
    encoder: dict[str, str | int | list[str] | None]  # the arguments of `load`
    digest: str  # of its weights
    names: list[Annotated[str, msgspec.Meta(pattern=r"\S")]]
    threshold: Annotated[float, msgspec.Meta(ge=0)]
    recordings: list[str] = []  # their names; older galleries have none


class Gallery:
    """Enrolled people: one mean feature for each of their recordings."""
    def __init__(self, encoder: Encoder, threshold: float = math.inf):
        self.encoder = encoder
        self.threshold = threshold  # distance beyond which a recording is nobody's
        self.search = "torch"  # of the nearest; or "faiss", which gives the same answers
        # By the bytes of a recording's feature: its persons, and what each has called it.
        self._owners: dict[bytes, dict[str, str]] = {}
        self._index: Any = None  # faiss's, of the features

    @property
    def names(self) -> list[str]:
        """The person of each enrolled recording."""
        return [name for owners in self._owners.values() for name in owners]

    @property
    def recordings(self) -> list[str]:
        """The name of each enrolled recording, empty if it is not known."""
        return [recording for owners in self._owners.values() for recording in owners.values()]

    @property
    def features(self) -> np.ndarray:
        """The features of the enrolled recordings, (recordings, d) float32."""
        rows = b"".join(row * len(owners) for row, owners in self._owners.items())
        return np.frombuffer(rows, np.float32).reshape(-1, self.encoder.size)

    def __repr__(self) -> str:
        names = self.names
        counts = f"{len(set(names))} persons, {len(names)} recordings"
        open_to_all = " (everybody is named)" if self.threshold == math.inf else ""
        return f"{counts}, threshold {self.threshold:.4g}{open_to_all}, {self.encoder}"

    def add(self, name: str, frames: Any, recording: str = "") -> None:
        """Enrol a recording of a person, who may have others. recording: its own name."""
        self.add_features(name, self.encoder.windows(frames), recording)

    def add_features(self, name: str, windows: Any, recording: str = "") -> None:
        """As `add`, with the features (N, d) of the recording's windows. DataWarning if it is
        enrolled already; it is not enrolled twice for one person.
        """
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise InputError(f"expected a name of letters that can be seen, found {name!r}")
        name, mean = composed(name).strip(), self._checked(windows).mean(axis=0)
        owners = self._owners.setdefault(mean.tobytes(), {})
        if owners:
            then = "it is not enrolled again" if name in owners else f"now it is {name}'s, too"
            warnings.warn(
                f"{recording or 'this recording'} is enrolled as {next(iter(owners))}'s: "
                f"{then}", DataWarning, stacklevel=2)
        if name not in owners:
            owners[name], self._index = recording, None

    def remove(self, name: str) -> None:
        """Remove all recordings of a person. InputError if nobody has this name."""
        name, names = composed(name).strip(), self.names
        if name not in names:
            raise InputError(f"expected the name of an enrolled person, found {name!r}")
        for owners in self._owners.values():
            owners.pop(name, None)
        self._owners = {row: owners for row, owners in self._owners.items() if owners}
        self._index = None

    def _checked(self, windows: Any) -> np.ndarray:
        """Features of windows, (N, d) float32; InputError for others."""
        return self.encoder.checked(windows, ("N", self.encoder.size)).astype(np.float32)

    def identify(self, frames: Any) -> list[Match]:
        """At most 5 persons within the threshold of a recording, the nearest first."""
        matches = self.nearest(self.encoder.windows(frames))
        return [match for match in matches if match.distance <= self.threshold]

    def nearest(self, windows: np.ndarray, count: int = 5) -> list[Match]:
        """The `count` nearest persons to window features (N, d), without the threshold. Of equally
        near ones the person enrolled first comes first. InputError if nobody is enrolled.
        """
        names, features, windows = self.names, self.features, self._checked(windows)
        if not names:
            raise InputError("nobody is enrolled: add recordings to the gallery first")
        if self.search == "faiss" and self._index is None:
            device = next(self.encoder.model.parameters()).device
            self._index = faiss_index(features, device.index)
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
        recordings = map(self.recordings.__getitem__, numbers[own])
        return list(map(Match, places, distances[own].tolist(), votes.tolist(), recordings))

    def save(self, path: str | Path) -> None:
        """Write the gallery as an .npz archive without pickles, whole or not at all."""
        about = self.encoder.origin, self.encoder.digest, self.names, float(self.threshold)
        header = json.dumps(msgspec.to_builtins(Header(FORMAT, *about, self.recordings)))
        write_whole(Path(path), lambda x: np.savez(x, header=header, features=self.features))

    @classmethod
    def load(cls, path: str | Path, encoder: Encoder | None = None,
             device: str = "auto") -> "Gallery":
        """Read a gallery. encoder: needed if its checkpoint has moved; InputError for another one.
        device: for an encoder that is not given.
        """
        kind = "gallery", "gallery.py add FILE --checkpoint makes one"
        arrays = read_arrays(Path(path), ("header", "features"), *kind)
        try:
            header = msgspec.convert(json.loads(str(arrays["header"])), Header)
            features, count = arrays["features"], len(header.names)
            origin = {**header.encoder, "path": str(header.encoder["path"])}
            recordings = header.recordings or [""] * count
            is_whole = features.dtype.kind == "f" and features.shape[:1] == (count,)
            is_whole &= len(recordings) == count
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
        rows = map(np.ndarray.tobytes, features.astype(np.float32))
        for row, name, recording in zip(rows, header.names, recordings, strict=True):
            gallery._owners.setdefault(row, {})[composed(name)] = recording
        return gallery


def nearest_rows(query: np.ndarray, rows: np.ndarray, count: int, search: str = "torch",
                 index: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and Euclidean distances of the rows (N, d) nearest to a query (d,), float32.

    Both are (min(count, N),), ascending; of equal distances the lower number is first. search:
    "faiss" finds the rows that can be among them, whose distances are then computed in float64.
    index: faiss's of the rows, if there is one.
    """
    count, numbers = min(count, len(rows)), np.arange(len(rows))
    if by_faiss(search, count, len(rows)):
        near, sure = candidates(index or faiss_index(rows), query[None], count)
        numbers = np.sort(near[0]) if sure[0] else numbers
    distances = np.linalg.norm(rows[numbers] - query.astype(np.float64), axis=1)
    order = np.argsort(distances, kind="stable")[:count]
    return numbers[order], distances[order]


def error_rates(genuine: list[float], impostor: list[float]) -> dict[str, np.ndarray]:
    """False acceptance (FAR) and false rejection (FRR) by threshold, ascending, (M,) each.

    genuine: distances of recordings to their own person; impostor: to the nearest other one. A
    recording is accepted up to the threshold. InputError if one kind is missing.
    """
    if not genuine or not impostor:
        raise InputError(
            f"expected recordings of enrolled persons that are not enrolled themselves, and two "
            f"persons; found {len(genuine)} genuine and {len(impostor)} impostor distances")
    thresholds = np.unique([*genuine, *impostor])
    FAR = np.searchsorted(np.sort(impostor), thresholds, side="right") / len(impostor)
    FRR = 1 - np.searchsorted(np.sort(genuine), thresholds, side="right") / len(genuine)
    return {"threshold": thresholds, "FAR": FAR, "FRR": FRR}
