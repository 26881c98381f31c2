"""The settings of each method: typed fields, each with its default, its check and a line of help.

PUBLISHED holds what the papers set otherwise; RELEASED what the released code does otherwise
(--protocol released, docs/5-fidelity.md). The command line wins.
"""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import Any

from skeleton_reid.common.command_line import FLAG, SWITCH, option
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.numbers import below_one, not_negative, positive, positive_int, share
from skeleton_reid.data.sampling import SUBSET_SIZES

PROTOCOLS = ("full", "released")


def scale_letters(text: str) -> str:
    """argparse type: some of the letters I, J, P, B, each once, put from fine to coarse."""
    if not text or set(text) - set("IJPB") or len(set(text)) < len(text):
        raise ArgumentTypeError(f"expected some of the letters IJPB, each once, found {text!r}")
    return "".join(sorted(text, key="IJPB".index))


@dataclass(frozen=True)
class KnownClasses:
    """What is known of the training windows, whose classes are found without labels otherwise."""

    tracklets: bool = option(False, "windows of one recording are a class", action="store_true")
    labels: bool = option(False, "those of one person are: a bound", action="store_true")

    @property
    def knows(self) -> str:
        """nothing, tracklets or labels."""
        return "labels" if self.labels else "tracklets" if self.tracklets else "nothing"

    def folder(self, method: str) -> str:
        """The folder of a method's runs with these settings, below --out."""
        return method if self.knows == "nothing" else f"{method}-{self.knows}"


@dataclass(frozen=True)
class SimMCSettings(KnownClasses):
    """SimMC (models/simmc.py)."""

    H: int = option(256, "feature size", type=positive_int)
    D: int = option(1, "hidden layers of the encoder", type=positive_int)
    mask_x: int = option(2, "frames that the first mask leaves out", type=int)
    mask_x_2: int | None = option(None, "by the second mask (as many as by the first)", type=int)
    mask_lambda: float = option(0.5, "weight of MIC, MPC has the rest", "--lambda", type=share)
    t: float = option(0.08, "temperature", type=positive)
    eps: float = option(0.8, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(2, "DBSCAN: neighbours of a core sequence", type=positive_int)
    lr: float = option(0.00035, "learning rate", type=positive)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)
    patience: int = option(100, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)

    def __post_init__(self):
        if self.mask_x_2 is None:
            object.__setattr__(self, "mask_x_2", self.mask_x)


@dataclass(frozen=True)
class HiMPCSettings(KnownClasses):
    """Hi-MPC (models/himpc.py)."""

    H: int = option(256, "feature size of a level", type=positive_int)
    M: int = option(8, "meta-transformations of a level", type=positive_int)
    focus: int = option(1, "mine hard (1) or easy (-1) skeletons, or none (0)", type=int,
                        choices=(1, -1, 0))
    cluster_on: str = option("levels", "features of the levels, or what is scored, MSMR",
                             choices=("levels", "MSMR"))
    eps: float = option(0.8, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(2, "DBSCAN: neighbours of a core sequence", type=positive_int)
    k1: int = option(20, "Jaccard distance: neighbours", type=positive_int)
    k2: int = option(6, "Jaccard distance: neighbours of the query expansion", type=positive_int)
    lr: float = option(0.00035, "learning rate", type=positive)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)
    patience: int = option(50, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)


@dataclass(frozen=True)
class SPCMGRSettings(KnownClasses):
    """SPC-MGR (models/spcmgr.py)."""

    heads: int = option(8, "of the graph attention", "--m", type=positive_int)
    fusion_lambda: float = option(1.0, "weight of the collaborative relations", type=not_negative)
    struct_only: int = option(0, "no collaborative relations", **SWITCH)
    t: float = option(0.08, "temperature", type=positive)
    eps: float = option(0.8, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(2, "DBSCAN: neighbours of a core sequence", type=positive_int)
    k1: int = option(20, "Jaccard distance: neighbours", type=positive_int)
    k2: int = option(6, "Jaccard distance: neighbours of the query expansion", type=positive_int)
    lr: float = option(0.00035, "learning rate", type=positive)
    batch_size: int = option(128, "sequences in a batch", type=positive_int)
    patience: int = option(200, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)


@dataclass(frozen=True)
class StatisticsSettings(KnownClasses):
    """Window statistics (models/statistics.py)."""

    H: int = option(1024, "units of a hidden layer", type=positive_int)
    D_out: int = option(128, "feature size", type=positive_int)
    dropout: float | None = option(None, "share of units dropped (0.2, with --no-linked 0.4)",
                                   type=below_one)
    beside: float = option(0.4, "weight of the means beside the learned feature", type=not_negative)
    turned: bool = option(False, "turn skeletons onto one pose: nothing of the camera is left",
                          action="store_true")
    noise: float = option(0.1, "deviation of the noise on the input", type=not_negative)
    t: float | None = option(None, "temperature (0.15, with --no-linked 0.1)", type=positive)
    linked: bool = option(True, "windows that go on in one another are a tracklet", **FLAG)
    eps: float = option(0.6, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int | None = option(None, "DBSCAN: neighbours of a core (2, with "
                                     "--no-linked 4)", type=positive_int)
    rounds: int = option(3, "rounds, each with labels of its own", type=positive_int)
    round_epochs: int = option(10, "epochs of a round", type=positive_int)
    lr: float | None = option(None, "learning rate (0.003, with --no-linked 0.001)", type=positive)
    weight_decay: float = option(0.01, "of the encoder, by AdamW", type=not_negative)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)

    def __post_init__(self):
        # Clusters of windows, a part of which are wrong, need what bounds the fit; others do not.
        sure = self.linked or self.knows != "nothing"
        defaults = {"dropout": (0.4, 0.2), "t": (0.1, 0.15), "min_samples": (4, 2)}
        for name, values in (defaults | {"lr": (0.001, 0.003)}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, values[sure])

    def folder(self, method: str) -> str:
        return super().folder(method) + "-no-linked" * (not self.linked)


@dataclass(frozen=True)
class DFSettings:
    """DF (models/recognition.py)."""

    knows = "labels"

    H: int = option(640, "units of the hidden layer", type=positive_int)
    lr: float = option(0.0005, "learning rate", type=positive)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)
    patience: int = option(20, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)


@dataclass(frozen=True)
class AGESettings:
    """AGE (models/age.py)."""

    attention: str = option("LA", "locality-aware, basic, ...", choices=("LA", "BA", "MBA", "none"))
    manner: str = option("ap", "average the rows' predictions, or join them", choices=("ap", "sc"))
    feature: str = option("encodings", "what is recognised", choices=("encodings", "states"))
    decoder_input: str = option("zeros", "of a step", choices=("zeros", "previous"))
    target: str = option("reverse", "order of the rebuilt frames", choices=("reverse", "same"))
    centred: bool = option(False, "hip centre as the origin", **FLAG)
    two_thirds: bool = option(False, "encoders train on the first two thirds", **FLAG)
    hidden: int = option(256, "units of every layer", type=positive_int)
    lr: float = option(0.0005, "learning rate", type=positive)
    batch_size: int = option(128, "sequences in a batch", type=positive_int)
    pre_epochs: int = option(400, "epochs of the encoders", type=positive_int)
    recognition_epochs: int = option(300, "epochs of the recogniser", type=positive_int)
    patience: int | None = option(None, "end after epochs without better test", type=positive_int)
    balance: bool = option(False, "resample training to equal class shares (uses labels)", **FLAG)


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
    embedding_only: int = option(0, "no structural relations", **SWITCH)
    same_scale: int = option(0, "no cross-scale inference: rebuild the own scale alone", **SWITCH)
    single_level: InitVar[int] = option(0, "collaborative relations of weight 0", **SWITCH)
    loss: str = option("l1", "of the rebuilt skeletons", choices=("l1", "l2", "MSE"))
    pred_margin: int = option(0, "frames ahead that are predicted; 0: reconstruction", type=int)
    sample_num: int = option(1, "rounds of frame subsets", type=positive_int)
    s_range: str = option("all", "sizes of the subsets", choices=SUBSET_SIZES)
    ord_sample: int = option(0, "the first frames instead of random subsets", **SWITCH)
    bi: int = option(0, "also subsets that are read backwards", **SWITCH)
    reverse: int = option(0, "windows that are read backwards", **SWITCH)
    subsets: str = option("resample", "for every batch, or once", choices=("resample", "fixed"))
    lr: float = option(0.0025, "learning rate of the encoder", type=positive)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)
    pre_epochs: int = option(120, "epochs of the encoder", type=positive_int)
    prefixes: str = option("f", "f+1: with the released code's extra one", choices=("f", "f+1"))
    last_pre: int = option(0, "recognise by the last prefix alone", **SWITCH)
    recognition_lr: float = option(0.0025, "learning rate of the recogniser", type=positive)
    recognition_epochs: int = option(100_000, "epochs of the recogniser", type=positive_int)
    patience: int = option(100, "end after so many epochs without better test", type=positive_int)
    best_from: int = option(1, "epoch from which the best is kept", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)

    def __post_init__(self, single_level: int):
        if single_level:
            if self.fusion_lambda not in (0, SMSGESettings.fusion_lambda):
                raise InputError("--single_level is a --fusion_lambda of 0: use one of them")
            object.__setattr__(self, "fusion_lambda", 0.0)


SETTINGS = {
    "SimMC": SimMCSettings, "DF": DFSettings, "AGE": AGESettings, "SM-SGE": SMSGESettings,
    "statistics": StatisticsSettings, "Hi-MPC": HiMPCSettings, "SPC-MGR": SPCMGRSettings
}
Table = dict[tuple[str, ...], dict[str, Any]]  # by method, data set and probe, or the first of them
PUBLISHED: Table = {
    ("SimMC", "KGBD"): {"t": 0.06, "eps": 0.6, "min_samples": 4},
    ("SimMC", "IAS", "A"): {"mask_lambda": 0.75},
    ("SimMC", "BIWI"): {"t": 0.07, "mask_lambda": 0.25},
    ("SimMC", "BIWI", "Still"): {"eps": 0.6},
    ("SimMC", "CASIA_B"): {"t": 0.075, "eps": 0.75, "mask_lambda": 0.25, "mask_x": 10},
    ("Hi-MPC", "KGBD"): {"eps": 0.6, "min_samples": 4},
    ("Hi-MPC", "BIWI", "Still"): {"eps": 0.6},
    ("Hi-MPC", "CASIA_B"): {"eps": 0.75},
    ("SPC-MGR", "KGBD"): {"t": 0.06, "eps": 0.6, "min_samples": 4, "heads": 16, "batch_size": 256},
    ("SPC-MGR", "BIWI"): {"t": 0.07, "eps": 0.6},
    ("SPC-MGR", "CASIA_B"): {"t": 0.075, "eps": 0.75},
    ("AGE", "KGBD"): {"recognition_epochs": 150},
    ("AGE", "BIWI"): {"two_thirds": True},
    ("SM-SGE", "KS20"): {"batch_size": 64, "lr": 0.0005, "pre_epochs": 200},
    ("SM-SGE", "IAS"): {"batch_size": 64, "best_from": 11},  # 10 in the released code, from 0
    ("SM-SGE", "IAS", "A"): {"batch_size": 128},
    ("SM-SGE", "KGBD"): {"D_h": 128, "pre_epochs": 160},
    ("SM-SGE", "BIWI"): {"lr": 0.005},
    ("SM-SGE", "CASIA_B"): {
        "batch_size": 128, "lr": 0.0005, "pre_epochs": 200, "recognition_lr": 0.0005
    },
    ("SM-SGE", "CASIA_B", "test"): {"pre_epochs": 160},  # cross-view
}
RELEASED: Table = {
    ("SM-SGE",): {"subsets": "fixed", "prefixes": "f+1"},
    ("SM-SGE", "IAS", "A"): {"batch_size": 64},  # the released code trains A with B's settings
}


def choose(method: str, protocol: str, dataset: str | None, probe: str | None,
           options: Mapping[str, Any]) -> Any:
    """The settings of a run. options: of the command line by name; names of others are ignored."""
    values: dict[str, Any] = {}
    for table in (PUBLISHED, RELEASED) if protocol == "released" else (PUBLISHED,):
        for key in ((method,), (method, dataset), (method, dataset, probe)):
            values |= table.get(key, {})
    named = {name: value for name, value in options.items() if value is not None}
    return from_values(method, values | named)


def from_values(method: str, values: Mapping[str, Any]) -> Any:
    """Settings with these values by name, such as those of a checkpoint; defaults for the rest."""
    names = SETTINGS[method].__dataclass_fields__
    return SETTINGS[method](**{name: values[name] for name in names if name in values})


def settings_of(content: Mapping[str, Any]) -> Any:
    """The settings that a checkpoint's model was trained with. "AGE + SimMC" has those of SimMC."""
    return from_values(content["method"].rpartition(" + ")[2], content["settings"])
