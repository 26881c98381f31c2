"""The settings of each method. A value on the command line wins over the table, the table over the
default.

A table maps a data set, or a data set and a probe, to what differs from the method's default; the
longer key wins.
"""

from collections.abc import Mapping
from typing import Any

PROTOCOLS = ("full", "released")  # docs/FIDELITY.md

SIMMC_DEFAULT = {
    "H": 256,  # feature size
    "D": 1,  # hidden layers
    "t": 0.08,  # temperature
    "lr": 0.00035,
    "eps": 0.8,  # DBSCAN's radius
    "min_samples": 2,  # DBSCAN's core points
    "mask_lambda": 0.5,  # weight of MIC
    "mask_x": 2,  # frames left out by the first mask
    "mask_x_2": None,  # by the second; None: as many as by the first
    "batch_size": 256,
    "patience": 100,  # epochs without a better top-1
    "balance": True,  # resample the training set to equal class shares
}

SIMMC = {
    ("KS20",): {},
    ("KGBD",): {"t": 0.06, "eps": 0.6, "min_samples": 4},
    ("IAS",): {},
    ("IAS", "A"): {"mask_lambda": 0.75},
    ("BIWI",): {"t": 0.07, "mask_lambda": 0.25},
    ("BIWI", "Still"): {"eps": 0.6},
    ("CASIA_B",): {"t": 0.075, "eps": 0.75, "mask_lambda": 0.25, "mask_x": 10},
}


DF_DEFAULT = {
    "H": 640,  # hidden units (models/df.py)
    "lr": 0.0005,  # that of AGE's recognition network
    "batch_size": 256,
    "patience": 20,  # epochs without a better top-1
    "balance": True,  # resample the training set to equal class shares
}


AGE_DEFAULT = {
    "attention": "LA",  # LA: locality-aware, BA: basic
    "manner": "ap",  # ap: the logits of the rows are averaged, sc: the rows are joined to one feature
    "feature": "encodings",  # what is recognised: the encodings, or states: the encoder's plain ones
    "decoder_input": "zeros",  # or previous: the target frame before (docs/FIDELITY.md, line 18)
    "target": "reverse",  # or same: the sequence in its own order
    "centred": False,  # whether the hip centre is the origin of every frame
    "hidden": 256,  # units of every LSTM layer and of the recognition network
    "lr": 0.0005,
    "batch_size": 128,
    "pre_epochs": 400,  # of the encoders
    "recognition_epochs": 300,
    "patience": None,  # epochs without a better test that end recognition; None: never, as published
    "two_thirds": False,  # whether the encoders train on the first two thirds of the windows (line 22)
    "balance": False,  # resample the training set to equal class shares
}

AGE_TABLE = {("KGBD",): {"recognition_epochs": 150}, ("BIWI",): {"two_thirds": True}}


SMSGE_DEFAULT = {
    "scales": "IJPB",  # graphs in use: hyper-joint, joint, part, body
    "D_h": 256,  # units of every LSTM layer
    "P": 8,  # heads of the graph attention
    "n_hood": 1,  # edges up to which joints are neighbours
    "global_att": 0,  # 1: every two nodes are
    "fusion_lambda": 1.0,  # weight of the collaborative relations
    "struct_only": 0,  # 1: without them
    "loss": "l1",  # or l2, MSE
    "pred_margin": 0,  # frames ahead that are predicted; 0: reconstruction
    "sample_num": 1,  # rounds of frame subsets
    "s_range": "all",  # sizes of the subsets
    "ord_sample": 0,  # 1: the first frames instead of random ones
    "bi": 0,  # 1: as many subsets again, read backwards
    "reverse": 0,  # 1: windows are read backwards
    "subsets": "resample",  # for every batch, or fixed: once (docs/FIDELITY.md, line 14)
    "batch_size": 256,
    "lr": 0.0025,  # of the encoder
    "pre_epochs": 120,  # of the encoder
    "prefixes": "f",  # states that the recogniser is given, f or f+1 (line 15)
    "last_pre": 0,  # 1: only the last of them
    "recognition_lr": 0.0025,
    "recognition_epochs": 100_000,  # as released: patience ends it
    "patience": 100,  # epochs of the recogniser without a better Rank-1 or loss
    "best_from": 1,  # epoch from which the best recogniser is kept
    "balance": True,  # resample the training set to equal class shares
}

SMSGE_TABLE = {
    ("KS20",): {"batch_size": 64, "lr": 0.0005, "pre_epochs": 200},
    ("IAS",): {
        "batch_size": 64,
        "best_from": 11,
    },  # epoch 10 of the released code, which counts from 0
    ("IAS", "A"): {"batch_size": 128},
    ("KGBD",): {"D_h": 128, "pre_epochs": 160},
    ("BIWI",): {"lr": 0.005},
    ("CASIA_B",): {"batch_size": 128, "lr": 0.0005, "pre_epochs": 200, "recognition_lr": 0.0005},
    ("CASIA_B", "test"): {"pre_epochs": 160},  # cross-view
}

# By protocol: default and table. The released code trains IAS A with B's settings (line 16).
SMSGE = {
    "full": (SMSGE_DEFAULT, SMSGE_TABLE),
    "released": (
        SMSGE_DEFAULT | {"subsets": "fixed", "prefixes": "f+1"},
        SMSGE_TABLE | {("IAS", "A"): {}},
    ),
}


def choose(
    method: str, protocol: str, dataset: str, probe: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of one run of a method: SimMC, DF, AGE or SM-SGE. given: as of `resolve`."""
    tables = {
        "SimMC": (SIMMC_DEFAULT, SIMMC),
        "DF": (DF_DEFAULT, {}),
        "AGE": (AGE_DEFAULT, AGE_TABLE),
        "SM-SGE": SMSGE[protocol],
    }
    settings = resolve(*tables[method], (dataset, probe), given)
    if method == "SimMC" and settings["mask_x_2"] is None:
        settings["mask_x_2"] = settings["mask_x"]
    return settings


def resolve(
    default: Mapping[str, Any],
    table: Mapping[tuple, Mapping[str, Any]],
    key: tuple,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The settings of one run.

    default: every setting of the method. table: what differs, by data set and by (data set, probe).
    key: (data set, probe). given: command line values; None means not given. Returns a new dict
    with the keys of `default`.
    """
    settings = dict(default)
    for depth in range(1, len(key) + 1):
        settings.update(table.get(key[:depth], {}))
    settings.update({name: given[name] for name in default if given.get(name) is not None})
    return settings
