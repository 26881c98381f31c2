"""The settings of each method: typed fields, each with its default, its check and a line of help.

PUBLISHED holds what the papers set otherwise, by data set and by (data set, probe); RELEASED what
the released code does otherwise (--protocol released, docs/5-fidelity.md). The command line wins.
"""

from argparse import ArgumentTypeError, BooleanOptionalAction
from collections.abc import Mapping
from dataclasses import InitVar, asdict, dataclass
from typing import Any

from common.command_line import SWITCH, option
from common.errors import InputError
from common.numbers import below_one, not_negative, positive, positive_int, share
from data.frame_subsets import SUBSET_SIZES

PROTOCOLS = ("full", "released")


def scale_letters(text: str) -> str:
    """argparse type: some of the letters I, J, P, B, each once, put from fine to coarse."""
    if not text or set(text) - set("IJPB") or len(set(text)) < len(text):
        raise ArgumentTypeError(f"expected some of the letters IJPB, each once, found {text!r}")
    return "".join(sorted(text, key="IJPB".index))


# Settings that several methods have.
def _balance(default: bool) -> Any:
    text = "resample training sequences to equal class shares (uses labels)"
    return option(default, text, action=BooleanOptionalAction)


def _batch_size(default: int) -> Any:
    return option(default, "sequences in a batch", type=positive_int)


def _epochs(default: int, of: str) -> Any:
    return option(default, f"epochs of the {of} (or --epochs)", type=positive_int)


def _lr(default: float, of: str = "") -> Any:
    return option(default, f"learning rate{of}", type=positive)


def _patience(default: int | None, figure: str) -> Any:
    return option(default, f"epochs without a better {figure} that end training", type=positive_int)


@dataclass(frozen=True)
class SimMCSettings:
    """SimMC (models/simmc.py)."""

    H: int = option(256, "feature size", type=positive_int)
    D: int = option(1, "hidden layers of the encoder", type=positive_int)
    mask_x: int = option(2, "frames that the first mask leaves out", type=int)
    mask_x_2: int | None = option(None, "by the second mask (as many as by the first)", type=int)
    mask_lambda: float = option(0.5, "weight of MIC, MPC has the rest", "--lambda", type=share)
    t: float = option(0.08, "temperature", type=positive)
    eps: float = option(0.8, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(2, "DBSCAN: neighbours of a core sequence", type=positive_int)
    lr: float = _lr(0.00035)
    batch_size: int = _batch_size(256)
    patience: int = _patience(100, "top-1")
    balance: bool = _balance(True)

    def __post_init__(self):
        if self.mask_x_2 is None:
            object.__setattr__(self, "mask_x_2", self.mask_x)


@dataclass(frozen=True)
class StatisticsSettings:
    """Window statistics (models/statistics.py)."""

    H: int = option(1024, "units of a hidden layer", type=positive_int)
    D_out: int = option(128, "feature size", type=positive_int)
    dropout: float = option(0.4, "share of units dropped", type=below_one)
    noise: float = option(0.1, "deviation of the noise on the input", type=not_negative)
    tracklets: bool = option(False, "windows of a recording are a class", action="store_true")
    t: float | None = option(None, "temperature (0.1, with tracklets 0.15)", type=positive)
    eps: float = option(0.6, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(4, "DBSCAN: neighbours of a core sequence", type=positive_int)
    rounds: int = option(3, "rounds, each with labels of its own", type=positive_int)
    round_epochs: int = option(10, "epochs of a round", type=positive_int)
    lr: float = _lr(0.001)
    weight_decay: float = option(0.01, "of the encoder, by AdamW", type=not_negative)
    batch_size: int = _batch_size(256)

    def __post_init__(self):
        if self.t is None:
            object.__setattr__(self, "t", 0.15 if self.tracklets else 0.1)


@dataclass(frozen=True)
class DFSettings:
    """DF (models/recognition.py)."""

    H: int = option(640, "units of the hidden layer", type=positive_int)
    lr: float = _lr(0.0005)
    batch_size: int = _batch_size(256)
    patience: int = _patience(20, "top-1")
    balance: bool = _balance(True)


@dataclass(frozen=True)
class AGESettings:
    """AGE (models/age.py)."""

    attention: str = option("LA", "locality-aware, basic, ...", choices=("LA", "BA", "MBA", "none"))
    manner: str = option("ap", "average the rows' predictions, or join them", choices=("ap", "sc"))
    feature: str = option("encodings", "what is recognised", choices=("encodings", "states"))
    decoder_input: str = option("zeros", "of a step", choices=("zeros", "previous"))
    target: str = option("reverse", "order of the rebuilt frames", choices=("reverse", "same"))
    centred: bool = option(False, "hip centre as the origin", action=BooleanOptionalAction)
    two_thirds: bool = option(False, "encoders train on the first two thirds",
                              action=BooleanOptionalAction)
    hidden: int = option(256, "units of every layer", type=positive_int)
    lr: float = _lr(0.0005)
    batch_size: int = _batch_size(128)
    pre_epochs: int = _epochs(400, "encoders")
    recognition_epochs: int = _epochs(300, "recogniser")
    patience: int | None = _patience(None, "test in recognition (never)")
    balance: bool = _balance(False)


@dataclass(frozen=True)
class SMSGESettings:
    """SM-SGE (models/smsge.py)."""

    scales: str = option("IJPB", "hyper-joint I, joint J, part P, body B", type=scale_letters)
    D_h: int = option(256, "units of every LSTM layer", type=positive_int)
    P: int = option(8, "heads of the graph attention", type=positive_int)
    n_hood: int = option(1, "edges up to which joints are neighbours", type=positive_int)
    global_att: int = option(0, "every two nodes are neighbours", **SWITCH)
    fusion_lambda: float = option(1.0, "weight of the collaborative relations", type=not_negative)
    struct_only: int = option(0, "no collaborative relations", **SWITCH)
    single_level: InitVar[int] = option(0, "collaborative relations of weight 0", **SWITCH)
    loss: str = option("l1", "of the rebuilt skeletons", choices=("l1", "l2", "MSE"))
    pred_margin: int = option(0, "frames ahead that are predicted; 0: reconstruction", type=int)
    sample_num: int = option(1, "rounds of frame subsets", type=positive_int)
    s_range: str = option("all", "sizes of the subsets", choices=SUBSET_SIZES)
    ord_sample: int = option(0, "the first frames instead of random subsets", **SWITCH)
    bi: int = option(0, "also subsets that are read backwards", **SWITCH)
    reverse: int = option(0, "windows that are read backwards", **SWITCH)
    subsets: str = option("resample", "for every batch, or once", choices=("resample", "fixed"))
    lr: float = _lr(0.0025, " of the encoder")
    batch_size: int = _batch_size(256)
    pre_epochs: int = _epochs(120, "encoder")
    prefixes: str = option("f", "f+1: with the released code's extra one", choices=("f", "f+1"))
    last_pre: int = option(0, "recognise by the last prefix alone", **SWITCH)
    recognition_lr: float = _lr(0.0025, " of the recogniser")
    recognition_epochs: int = _epochs(100_000, "recogniser")
    patience: int = _patience(100, "test in recognition")
    best_from: int = option(1, "epoch from which the best is kept", type=positive_int)
    balance: bool = _balance(True)

    def __post_init__(self, single_level: int):
        if single_level:
            if self.fusion_lambda not in (0, SMSGESettings.fusion_lambda):
                raise InputError("--single_level is a --fusion_lambda of 0: use one of them")
            object.__setattr__(self, "fusion_lambda", 0.0)


SETTINGS = {
    "SimMC": SimMCSettings, "DF": DFSettings, "AGE": AGESettings, "SM-SGE": SMSGESettings,
    "statistics": StatisticsSettings
}
PUBLISHED: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {
    "SimMC": {("KGBD",): {"t": 0.06,
                          "eps": 0.6, "min_samples": 4}, ("IAS", "A"): {"mask_lambda": 0.75},
              ("BIWI",): {"t": 0.07, "mask_lambda": 0.25}, ("BIWI", "Still"): {"eps": 0.6},
              ("CASIA_B",): {"t": 0.075, "eps": 0.75, "mask_lambda": 0.25, "mask_x": 10}},
    "AGE": {("KGBD",): {"recognition_epochs": 150}, ("BIWI",): {"two_thirds": True}},
    "SM-SGE": {
        ("KS20",): {"batch_size": 64, "lr": 0.0005, "pre_epochs": 200},
        ("IAS",): {"batch_size": 64, "best_from": 11},  # 10 in the released code, counted from 0
        ("IAS", "A"): {"batch_size": 128},
        ("KGBD",): {"D_h": 128, "pre_epochs": 160},
        ("BIWI",): {"lr": 0.005},
        ("CASIA_B",): {
            "batch_size": 128, "lr": 0.0005, "pre_epochs": 200, "recognition_lr": 0.0005
        },
        ("CASIA_B", "test"): {"pre_epochs": 160}  # cross-view
    }
}
RELEASED: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {
    "SM-SGE": {
        (): {"subsets": "fixed", "prefixes": "f+1"},
        ("IAS", "A"): {"batch_size": 64}  # the released code trains A with B's settings
    }
}


def choose(method: str, protocol: str, dataset: str | None, probe: str | None,
           options: Mapping[str, Any]) -> Any:
    """The settings of one run of a method: an instance of its class in SETTINGS.

    options: values of the command line by name; names that are no settings are ignored.
    """
    values: dict[str, Any] = {}
    for table in (PUBLISHED, RELEASED) if protocol == "released" else (PUBLISHED,):
        for key in ((), (dataset,), (dataset, probe)):
            values |= table.get(method, {}).get(key, {})
    named = {name: value for name, value in options.items() if value is not None}
    return from_values(method, values | named)


def from_values(method: str, values: Mapping[str, Any]) -> Any:
    """Settings with these values by name, such as those of a checkpoint; defaults for the rest."""
    names = SETTINGS[method].__dataclass_fields__
    return SETTINGS[method](**{name: values[name] for name in names if name in values})


def describe(settings: Any) -> str:
    """Settings as one readable line."""
    return "  ".join(f"{name} {value}" for name, value in asdict(settings).items())
