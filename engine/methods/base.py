"""What a method says of itself, and what all settings have in common. Nothing imports PyTorch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from skeleton_reid.common.command_line import FLAG, below_one, option, positive, positive_int
from skeleton_reid.common.errors import InputError

# Settings by (), which is always, by (data set,) and by (data set, probe).
Table = Mapping[tuple[str, ...], Mapping[str, Any]]


class Settings:
    """What the engine asks of the settings of a method, which are a frozen dataclass."""

    supervision = None  # of the classes that are learned, if any: none, tracklets, identities
    centred = True  # whether the model takes skeletons with the hip centre as the origin
    patience = None  # epochs without a better top-1 that end training; None: never
    link = False  # whether consecutive windows are chained into tracklets before clustering
    variant = ""  # part of the run folder's name, for runs with other settings
    at_first = "untrained encoder"  # what is scored before the first epoch
    released_order = "file"  # of KGBD's joints in the released code (docs/05, head-as-origin)

    def check(self, options: Any) -> None:
        """InputError for other options, such as `length`, that do not go with these settings."""

    def recogniser(self, probe: str) -> str:
        """The folder of the recogniser, of a run in phases."""
        return "recogniser"

    def of(self, function: Callable, **more: Any) -> dict[str, Any]:
        """The settings, and what else is named, that a function has parameters of the names of."""
        known = vars(self) | more
        return {name: known[name] for name in signature(function).parameters if name in known}


def check_masks(option_name: str, length: int, *left_out: int) -> None:
    """InputError unless masks can leave out so many of `length` frames."""
    for x in left_out:
        if not 0 <= x < length:
            raise InputError(f"{option_name}: a mask leaves out 0 to {length - 1} of {length} "
                             f"frames, found {x}")


@dataclass(frozen=True)
class ClusterSettings(Settings):
    """Classes that are clusters of the training windows unless they are known."""

    tracklets: bool = option(False,
                             "the windows of a recording form a class (supervision: tracklets)",
                             action="store_true")
    labels: bool = option(False, "the windows of a person form a class: an upper bound",
                          action="store_true")

    def check(self, options: Any) -> None:
        if self.tracklets and self.labels:
            raise InputError("expected --tracklets or --labels, found both")

    @property
    def supervision(self) -> str:
        return "identities" if self.labels else "tracklets" if self.tracklets else "none"

    @property
    def variant(self) -> str:
        return {"none": "", "tracklets": "-tracklets", "identities": "-labels"}[self.supervision]


@dataclass(frozen=True)
class LearningSettings(Settings):
    """Of one training, whose best epoch is kept."""

    lr: float = option(0.00035, "learning rate", type=positive)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)
    patience: int = option(100, "stop after N epochs without a better top-1", type=positive_int)
    balance: bool = option(True, "balance the persons in training (uses labels)", **FLAG)


@dataclass(frozen=True)
class ContrastSettings(ClusterSettings, LearningSettings):
    """Of windows with the prototypes of their clusters."""

    eps: float = option(0.8, "DBSCAN: largest Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(2, "DBSCAN: neighbours of a core sequence, itself included",
                              type=positive_int)
    link: bool = option(False, "chain consecutive windows into tracklets before clustering",
                        action="store_true")

    def check(self, options: Any) -> None:
        super().check(options)
        if self.link and self.supervision != "none":
            raise InputError("--link is for clusters: leave out --tracklets and --labels")

    @property
    def variant(self) -> str:
        return super().variant + ("-link" if self.link else "")


@dataclass(frozen=True)
class Method:
    """A method: its block in the table."""

    name: str  # in results, checkpoints and folders
    model: str  # its class, below models/: "simmc.SimMC"
    script: str  # "train_simmc.py"
    settings: type  # a frozen dataclass that extends Settings
    options: type  # what else the script's command line has: TrainingOptions or an extension
    small: Mapping[str, Any]  # settings with which an epoch takes a moment, for tests and --quick
    published: Table = field(default_factory=dict)  # settings that the paper has otherwise
    released: Table = field(default_factory=dict)  # and those of the released code
    published_folder: bool = False  # runs lie in <dataset>/<probe>/ below --out, without the name

    @property
    def model_class(self) -> type:
        """The model's class; PyTorch is imported."""
        module, _, name = self.model.rpartition(".")
        return getattr(import_module(f"skeleton_reid.models.{module}"), name)

    def run_folder(self, variant: str, dataset: str, probe: str) -> tuple[Path, str]:
        """The folder of a run, below --out, and how its files' names begin."""
        if not self.published_folder:
            return Path(self.name + variant, dataset, probe), ""
        top = Path(self.name + variant if variant else "", dataset)
        return (top, f"{probe}_") if "." in probe else (top / probe, "")

    def choose(self, protocol: str, dataset: str | None, probe: str | None,
               options: Mapping[str, Any]) -> Any:
        """The settings of a run: published ones, over them (released ones and) `options` of the
        command line by name, of which names of others and None are ignored.
        """
        values: dict[str, Any] = {}
        tables = (self.published, self.released) if protocol == "released" else (self.published,)
        for table in tables:
            for key in ((), (dataset,), (dataset, probe)):
                values |= table.get(key, {})
        return self.restore(values | {n: x for n, x in options.items() if x is not None})

    def restore(self, values: Mapping[str, Any]) -> Any:
        """Settings with these values by name, as a checkpoint has them; defaults for the rest."""
        names = self.settings.__dataclass_fields__
        return self.settings(**{name: values[name] for name in names if name in values})
