"""Checkpoints: a dict of tensors and plain values, written whole, read without running code."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any
from zipfile import BadZipFile, ZipFile

import msgspec
import numpy as np
import torch
from torch import nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import write_whole
from skeleton_reid.data.skeleton import Skeleton
from skeleton_reid.engine.methods import METHODS

FORMAT, VERSION = "skeleton-reid 1", "0.2.0"  # VERSION: of the project, as in pyproject.toml
# Keys and settings that had other names when a checkpoint was made.
RENAMED = {"figures": "metrics", "beside": "raw_weight", "turned": "align", "linked": "link"}
Values = dict[str, Any]


class Recogniser(msgspec.Struct):
    """The part of a recogniser."""

    model: Any
    arguments: Values
    test: str | None
    persons: list[int] | None


class Content(msgspec.Struct):
    """What this version expects of a checkpoint, which can hold more; None: it can be missing."""

    method: str
    dataset: str
    length: Annotated[int, msgspec.Meta(ge=1, le=10**6)]
    seed: int
    settings: Values
    skeleton: Skeleton = None
    data: Values = None
    metrics: Values = None
    recogniser: Recogniser = None
    arguments: Values = None
    model: Values = None
    state: Values = None
    history: list[dict[str, float]] = None
    probe: str | None = None
    epoch: int | None = None

    def __post_init__(self):
        """ValueError for what belongs together and is not there."""
        if self.method.rpartition(" + ")[2] not in METHODS:  # "AGE + SimMC" is a SimMC
            raise ValueError(
                f"expected one of the methods {', '.join(METHODS)}, found {self.method!r}")
        for key in ("history", "epoch") if self.state is not None else ("model", "arguments"):
            if getattr(self, key) is None:
                raise ValueError(f"expected the key {key!r}, found none")


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values, whole or not at all (InputError)."""
    header = {"format": FORMAT, "version": VERSION}
    write_whole(path, lambda file: torch.save(header | content, file))


def load(path: Path, method: str | None = None) -> dict[str, Any]:
    """Read a checkpoint, onto the CPU. InputError if missing, damaged, not of this project, of
    another method than `method`, or if another version has written what this one does not expect.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}; train first, or name another place")
    try:
        with path.open("rb") as file, ZipFile(file) as archive:  # else an old pickle to PyTorch
            if archive.testzip() is not None:
                raise BadZipFile("a checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # other bytes than a checkpoint's can raise anything
        found = (str(error).splitlines() or [type(error).__name__])[0]
        reason = f"it is truncated or damaged or another kind of file: {found}"
        if isinstance(error, UnpicklingError):  # whose message advises to run the code
            reason = "it holds more than tensors and plain values, and code is not run"
        raise InputError(f"{path} is not a readable checkpoint: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of this project: expected format {FORMAT!r}")
    content = _with_new_names(content)
    try:
        msgspec.convert(content, Content)
    except (msgspec.ValidationError, AttributeError) as error:  # of a tensor for a dict
        raise other_version(path, content, error) from error
    if method is not None and content["method"] != method:
        raise InputError(f"{path} holds a {content['method']} model, expected {method}")
    return content


def _with_new_names(content: Any) -> Any:
    if type(content) is not dict:  # nor an OrderedDict, which holds weights
        return content
    return {RENAMED.get(name, name): _with_new_names(value) for name, value in content.items()}


def other_version(path: Path, content: Mapping[str, Any], problem: object) -> InputError:
    """The error for a checkpoint of another version. problem: what this version cannot take."""
    made = content.get("version", "one that did not write its number")
    return InputError(f"{path} does not fit this version ({VERSION}), it was made by {made}: "
                      f"{problem}; train again, or use that version")


def expect(path: Path, content: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose values differ from those of the run, naming the first that does."""
    for name, value in wanted.items():
        if content.get(name) != value:
            raise InputError(f"{path} was made with {name} = {content.get(name)}, this run has "
                             f"{value}; use the same value, or another --out for another run")


def expect_windows(path: Path, content: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """InputError for windows (what preprocess.py says of them) of another unit, axes or joints."""
    made, own = ({**each.get("description", {}), "joint_order": each.get("joint_order")}
                 for each in (content.get("data", {}), data))
    for key in ("joint_order", "unit", "up"):
        if None not in (made.get(key), own.get(key)) and made[key] != own[key]:
            raise InputError(f"{path} was trained on windows with {key} {made[key]}, these have "
                             f"{own[key]}: run preprocess.py again, or train again")


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], source: Path) -> None:
    """Put weights into a model. Raises InputError if their names or shapes are not the model's."""
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        _, *problems = str(error).split("\n\t")  # PyTorch lists all of them
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise InputError(f"the weights in {source} do not fit the model: "
                         f"{problems[0] if problems else error}{more}") from error


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of a model's weights, in hexadecimal digits: equal weights, equal digests."""
    weights = (value.cpu().numpy().tobytes() for value in model.state_dict().values())
    return hashlib.sha256(b"".join(weights)).hexdigest()


def state_of(part: Any) -> Any:
    """Tensors and plain values of a model, an optimiser or a RandomState, for `restore`."""
    if not isinstance(part, np.random.RandomState):
        return part.state_dict()
    _, keys, position, *gauss = part.get_state()
    return {"keys": torch.from_numpy(keys.astype(np.int64)), "position": position, "gauss": gauss}


def restore(part: Any, state: Any) -> None:
    """Put a state that `state_of` has made back into its part."""
    if isinstance(part, np.random.RandomState):
        keys = state["keys"].numpy().astype(np.uint32)
        part.set_state(("MT19937", keys, state["position"], *state["gauss"]))
    else:
        part.load_state_dict(state)
