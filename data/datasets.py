"""The table of data sets, outside which no line of the project asks for one by name; users' own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

import msgspec

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import composed
from skeleton_reid.common.yaml_files import read_yaml
from skeleton_reid.data.skeleton import Skeleton, read
from skeleton_reid.data.skeleton import restore as restore_skeleton

Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
NO_TIME = "none"  # `time`, where neither numbers nor times of frames count


class OwnData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True,
              omit_defaults=True):
    """A user's own data as one YAML file describes them (docs/09-own-data.md)."""

    file: str  # this description
    name: str  # by default that of the file
    skeleton: str  # a shipped one, or a file
    format: Literal["npy", "npz", "csv", "trc", "mediapipe", "blazepose", "openpose", "alphapose",
                    "coco", "mmpose", "ntu", "azure_kinect", "zed", "json"]
    up: Literal["x", "-x", "y", "-y", "z", "-z"]  # the axis that points up
    # Metres; None: the files (TRC) name it.
    unit: Literal["m", "cm", "mm"] | Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    folder: str = "."  # of the recordings, from this file's on
    recordings: str = ""  # a pattern of their paths, such as {person}/{recording}.csv
    table: str = ""  # or a CSV file: file, person and, where they are known, split and frames
    columns: str = "{joint}_{axis}"  # CSV: the names of the columns
    confidence: str = ""  # CSV: those of the confidences, such as {joint}_score
    header: tuple[str, ...] = ()  # CSV: the columns of files that do not name them
    joint_names: dict[str, str] = {}  # joint of the skeleton -> its name in tables and JSON
    joint: str = ""  # CSV, a line a joint: the column that names the joint
    skip_lines: Count | None = None  # CSV: before the table; None: a header is looked for
    decimal: str = ""  # CSV: the sign before decimals; by default a point, or what must be one
    array: str = ""  # npz: the name of the array
    track: str = ""  # the column that tells people apart; by default one of a usual name
    time: str = ""  # the column or key of a frame's number or time; likewise; or NO_TIME
    ignore: tuple[str, ...] = ()  # joints of the skeleton that are left out
    longest_gap: Count = 0  # frames over which a lost joint is interpolated
    zeros_are_lost: bool = False  # a joint at (0, 0, 0)
    least_confidence: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # of a joint that is not lost

    def __post_init__(self):
        """ValueError for values out of range, or that do not go together."""
        msgspec.structs.force_setattr(self, "name", composed(self.name))
        of_folder = re.fullmatch(r"(?![.\s])[^/\\:*?\"<>|]+", self.name) and self.name.isprintable()
        of_tables = ("confidence", "header", "joint", "skip_lines", "decimal", "track")
        of_tables = [key for key in of_tables if getattr(self, key) not in ("", None, ())]
        # fmt: off
        refused = {
            "expected the key 'unit'": (self.unit is None and self.format != "trc", "none"),
            "name: expected letters that a folder can have": (not of_folder, self.name),
            "least_confidence: expected the columns of confidence":
                (self.least_confidence and self.format == "csv" and not self.confidence, "none"),
            "expected either recordings or table":
                (bool(self.recordings) == bool(self.table), "both" if self.table else "none"),
            "recordings: expected a path from folder on, with / between folders":
                (PureWindowsPath(self.recordings).anchor or re.search(r"\.\.|\\", self.recordings),
                 self.recordings),
            "recordings: expected {person} in it":
                (self.recordings and "{person}" not in self.recordings, self.recordings),
            "columns: expected {axis} in it": ("{axis}" not in self.columns, self.columns),
            f"{', '.join(of_tables)}: expected the format csv or trc":
                (of_tables and self.format not in ("csv", "trc"), self.format)
        }
        placeholders = {
            "recordings": (self.recordings, ("{person}", "{recording}", "{split}")),
            "columns": (self.columns, ("{joint}", "{axis}")),
            "confidence": (self.confidence, ("{joint}",)),
            "header": (" ".join(set(self.header) - {self.columns}), (self.columns,))
        }
        # fmt: on
        for expected, (is_wrong, found) in refused.items():
            if is_wrong:
                raise ValueError(f"{expected}, found {found!r}")
        for key, (pattern, known) in placeholders.items():
            for name in re.findall("{.*?}|[{}]", pattern):
                if name not in known:
                    raise ValueError(
                        f"{key}: expected {', '.join(known)} alone in braces, found {name!r}")

    @property
    def root(self) -> Path:
        """The folder of the recordings."""
        return Path(self.file).parent / self.folder

    def whole_skeleton(self) -> Skeleton:
        """The skeleton of the files, with the joints that are ignored. InputError for none."""
        folder = Path(self.file).parent if self.skeleton.endswith((".yaml", ".yml")) else ""
        return read(str(Path(folder, self.skeleton)))

    def joint_columns(self, joint: str, axes: str = "xyz") -> list[str]:
        """The columns of a joint: x, y, z and, where there is one, its confidence."""
        patterns = [*(self.columns.replace("{axis}", axis) for axis in axes), self.confidence]
        name = self.joint_names.get(joint, joint)
        return [pattern.replace("{joint}", name) for pattern in patterns if pattern]


@dataclass(frozen=True)
class Dataset:
    """What is fixed about a data set, whatever the method."""

    name: str
    skeleton: Skeleton
    splits: tuple[str, ...]  # the test splits, as in the folders of test_npy_data
    gallery_of: dict[str, str]  # probe split -> gallery split
    persons: int = 0  # in the published data set
    lengths: tuple[int, ...] = (4, 6, 8, 10, 12)  # published window lengths f, in frames
    default_length: int = 6
    balanced: bool = True  # resample training windows to equal class shares
    folder: str = ""  # holds the splits, below the data root, where it is not the name
    views: int = 0  # number of cross-view folders view_0, view_1, … below <name>/<f>
    view_length: int = 20  # of a view's windows, by default
    single_test: str | None = None  # what older layouts' one test set is; None: they name splits
    recognition: tuple[str, ...] = ()  # the test splits of the recognition protocol
    recognition_train: tuple[str, ...] = ()  # test splits that are added to its training set
    recognition_tested_only: bool = False  # train only persons that the test splits hold
    source: OwnData | None = None  # of a user's own data, where they are described

    def description(self) -> dict[str, Any]:
        """Plain values of all that windows depend on, which is neither the name nor where it is."""
        values = msgspec.to_builtins(self.source) if self.source else {}
        values = {key: value for key, value in values.items() if key not in ("file", "name")}
        return values | {"joints": list(self.skeleton.joints)}

    def pair(self, probe: str) -> tuple[str, str]:
        """The probe and the gallery split named "A", "cl.nm", …; InputError for others."""
        if probe not in self.gallery_of:
            known = ", ".join(self.gallery_of)
            raise InputError(f"unknown probe {probe!r} for {self.name}; choose one of {known}")
        return probe.partition(".")[0], self.gallery_of[probe]


_GALLERY_AND_PROBE = {
    "splits": ("gallery", "probe"), "gallery_of": {"probe": "gallery"}, "single_test": "probe",
    "recognition": ("probe",), "recognition_train": ("gallery",)
}
_WALKING_AND_STILL = ("Walking", "Still")
# fmt: off
_TABLE = (
    Dataset("BIWI", read("kinect_v1"), _WALKING_AND_STILL, {"Walking": "Still", "Still": "Walking"},
            50, single_test="Walking", recognition=_WALKING_AND_STILL,
            recognition_tested_only=True),
    Dataset("IAS", read("kinect_v1"), ("A", "B"), {"A": "B", "B": "A"}, 11, recognition=("A", "B")),
    Dataset("KGBD", read("kinect_v1"), persons=164, balanced=False, **_GALLERY_AND_PROBE),
    Dataset("KS20", read("kinect_v2"), persons=20, views=5, view_length=6, **_GALLERY_AND_PROBE),
    Dataset("CASIA_B", read("casia_b"), ("nm", "cl", "bg"),
            {"nm.nm": "nm", "cl.cl": "cl", "bg.bg": "bg", "cl.nm": "nm", "bg.nm": "nm"}, 124,
            lengths=(20, 30, 40, 50, 60, 70), default_length=40, folder="CASIA_B_match", views=11)
)
# fmt: on
DATASETS = {dataset.name: dataset for dataset in _TABLE}


def get(name: str | Path | Dataset) -> Dataset:
    """The record of a data set of the table, or of the YAML file of a user's own data.

    InputError for a name that is not in the table and for a file that is not as it should be.
    """
    if isinstance(name, Dataset):
        return name
    if name in DATASETS:
        return DATASETS[name]
    if Path(name).suffix not in (".yaml", ".yml"):
        raise InputError(f"unknown data set {str(name)!r}; choose one of {', '.join(DATASETS)}, or "
                         "describe your own in a FILE.yaml (docs/09-own-data.md)")
    source = read_yaml(Path(name), OwnData)
    if source.name in DATASETS:
        raise InputError(f"{name}: expected a name of its own, found {source.name!r}, which is "
                         "another data set's; rename the file")
    whole = source.whole_skeleton()
    try:
        skeleton = whole.without(source.ignore) if source.ignore else whole
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return _own(source.name, skeleton, source)


def _own(name: str, skeleton: Skeleton, source: OwnData | None = None) -> Dataset:
    return Dataset(name, skeleton, balanced=False, source=source, **_GALLERY_AND_PROBE)


def restore(content: Mapping[str, Any]) -> Dataset:
    """The data set of a checkpoint's content."""
    if content["dataset"] in DATASETS or "skeleton" not in content:
        return get(content["dataset"])
    return _own(content["dataset"], restore_skeleton(content["skeleton"]))
