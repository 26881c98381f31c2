"""A user's own data as one YAML file describes them (docs/9-own-data.md)."""

from typing import Literal

import msgspec

from data.skeleton import Skeleton

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}


class OwnData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the recordings are, how their files are read, and what is done about lost joints."""

    file: str  # this description
    name: str  # by default that of the file
    skeleton: str  # a shipped one, or a file
    format: Literal["npy", "csv", "mediapipe", "openpose"]
    unit: Literal["m", "cm", "mm"] | float  # a number is metres a unit
    up: Literal["x", "-x", "y", "-y", "z", "-z"]  # the axis that points up
    folder: str = "."  # of the recordings, from this file's on
    recordings: str = ""  # a pattern of their paths, such as {person}/{recording}.csv
    table: str = ""  # or a CSV file: file, person and, where they are known, split and frames
    columns: str = "{joint}_{axis}"  # CSV: the names of the columns
    confidence: str = ""  # CSV: those of the confidences, such as {joint}_score
    header: tuple[str, ...] = ()  # CSV: the columns of files that do not name them
    joint_names: dict[str, str] = {}  # CSV: joint of the skeleton -> its name in the columns
    longest_gap: int = 0  # frames over which a lost joint is interpolated
    zeros_are_lost: bool = False  # a joint at (0, 0, 0)
    least_confidence: float = 0.0  # of a joint that is not lost

    def __post_init__(self):
        """ValueError for values that do not go together."""
        if bool(self.recordings) == bool(self.table):
            raise ValueError("expected either recordings or table")
        if self.recordings and "{person}" not in self.recordings:
            raise ValueError(f"recordings: expected {{person}} in it, found {self.recordings!r}")
        if self.least_confidence and self.format == "csv" and not self.confidence:
            raise ValueError("least_confidence: expected the columns of confidence, found none")

    def expand(self, pattern: str, skeleton: Skeleton) -> list[str]:
        """The columns of all joints that the pattern `columns` stands for; or the name itself."""
        if pattern != self.columns:
            return [pattern]
        patterns = [*(pattern.replace("{axis}", axis) for axis in "xyz"), self.confidence]
        joints = [self.joint_names.get(joint, joint) for joint in skeleton.joints]
        return [each.replace("{joint}", joint) for joint in joints for each in patterns if each]
