"""The toolkit from Python: features of recordings, and a gallery that recognises people.

    encoder = skeleton_reid.load("ReID_Models/KS20/probe/best.pt")    # or the authors' .ckpt
    frames = skeleton_reid.read("walk.csv", "my_data.yaml")           # pieces (T, J, 3)
    vector = encoder(frames)                                          # (d,)
    gallery = skeleton_reid.Gallery(encoder)
    gallery.add("anna", frames)
    gallery.save("people.gallery")
    gallery.identify(frames)                                # [Match(name, distance, votes), ...]

A recording is an array, a tensor or lists of frames (T, J, 3), T >= f, with the joints in the order
and unit of the training data, or the list of such pieces that `read` returns. A bad recording or a
bad file raises InputError.
"""

import re
import warnings
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.numbers import unmasked
from skeleton_reid.data import datasets
from skeleton_reid.data.files import LARGEST_COORDINATE
from skeleton_reid.data.loader import DataWarning
from skeleton_reid.data.plausible import HINTS, doubts, doubts_of
from skeleton_reid.data.prepare import cut_windows
from skeleton_reid.data.raw.own import entry_of, read_entry
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.encoding import encode_set, load_model
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.options import PublishedOptions
from skeleton_reid.engine.published import open_checkpoint

__all__ = ["Encoder", "InputError", "load", "read"]


def load(path: str | Path, device: str = "auto", **published: Any) -> "Encoder":
    """Load the encoder of a checkpoint: best.pt of a run, the authors' TensorFlow checkpoint, or
    the name of a file in weights/, such as "kgbd-statistics".

    published: options of evaluate.py that the authors' files lack: dataset (unless the path has its
    name), length, set, positions (docs/06-formats.md). InputError for a file without an encoder,
    and for a model that needs the features of another model.
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
    return Encoder(model, content, {"path": str(file.absolute()), **published})


def read(path: str | Path, description: str | Path | datasets.Dataset | None = None,
         person: str | None = None) -> list:
    """Read a recording as preprocess.py does: a list of pieces (T, J, 3) in metres, y up, cut where
    joints are lost. description: the YAML file of its format (docs/09-own-data.md); None: the path
    is an array FILE.npy, which is not changed. person: one of several whom the description's table
    names in this file. InputError for an unreadable file, for a file without a whole frame, and if
    `person` is needed. DataWarning if several people are seen, of whom one is followed, and
    if the data look wrong: size, up, rest, speed.
    """
    if description is None:
        try:
            with Path(path).open("rb") as file:
                return [np.lib.format.read_array(file, allow_pickle=False)]
        except (OSError, ValueError, EOFError) as error:
            found = getattr(error, "strerror", None) or "another or a damaged file"
            raise InputError(
                f"{path}: expected a recording (T, J, 3) in FILE.npy, found {found}; "
                "another format needs its --dataset FILE.yaml (docs/09-own-data.md)") from error
    dataset = datasets.get(description)
    if dataset.source is None:
        raise InputError(
            f"expected recordings: files with the FILE.yaml that describes them, found "
            f"{dataset.name}, whose files are preprocess.py's")
    recording = read_entry(entry_of(Path(path), dataset, person), dataset)
    if others := recording.lost.get("frames with several people"):
        warnings.warn(f"{path}: {others} frames with several people, one is followed", DataWarning,
                      stacklevel=2)
    if not (pieces := recording.sequences()):
        raise InputError(f"{path}: expected a recording, no frame has all joints "
                         f"({recording.losses()})")
    if found := doubts_of(recording, dataset.skeleton):
        words = ", ".join(f"{words} ({HINTS[kind]})" for kind, words in found.items())
        warnings.warn(f"{path} looks wrong: {words}", DataWarning, stacklevel=2)
    return pieces


class Encoder:
    """A trained model. It has dataset, method, joints (their names), length (f), centred, simulated
    and supervision of its training, and size (d). origin: the arguments of `load`.
    """
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
        """The feature (d,) of a recording: the mean over its windows, one every f / 2 frames."""
        return self.windows(frames).mean(axis=0)

    def windows(self, frames: Any, step: int | None = None) -> np.ndarray:
        """Features (N, d) float32 of a recording's windows of f frames. A window starts every
        `step` frames (f / 2). InputError for a wrong shape, too few frames and lost joints (NaN).
        """
        step = max(1, self.length // 2) if step is None else step
        is_cut = isinstance(frames, list) and all(np.ndim(piece) == 3 for piece in frames or [0])
        pieces = [
            self.checked(piece, ("T", len(self.joints), 3))
            for piece in (frames if is_cut else [frames])
        ]
        if not is_cut and (found := doubts(pieces[0], self.skeleton)):  # `read` warns of files
            warnings.warn(f"a recording looks wrong: {', '.join(found.values())}", DataWarning,
                          stacklevel=2)
        longest = max(map(len, pieces))
        if longest < self.length or not isinstance(step, Integral) or step < 1:
            raise InputError(f"expected at least {self.length} frames and a whole step from 1 "
                             f"on, found {longest} and {step!r}")
        windows = cut_windows(pieces, [0] * len(pieces), self.length, step)
        return self.encode(windows.skeletons)

    def encode(self, windows: Any) -> np.ndarray:
        """Features (N, d) float32 of windows (N, f, J, 3), for example of preprocessed data."""
        windows = self.checked(windows, ("N", self.length, len(self.joints), 3))
        if self.centred:
            windows = windows - self.skeleton.mean(self.skeleton.root, windows)
        return encode_set(self.model, windows.astype(np.float32)).cpu().numpy()

    def checked(self, values: Any, shape: tuple[str | int, ...]) -> np.ndarray:
        """The values as float64. InputError unless they are finite numbers of this shape, at least
        one row of them; masked values are not finite.
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
