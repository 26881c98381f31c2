"""SM-SGE: its settings and what the paper and the released code set."""

from dataclasses import InitVar, dataclass
from itertools import combinations

from skeleton_reid.common.command_line import SWITCH, not_negative, option, positive, positive_int
from skeleton_reid.common.errors import InputError
from skeleton_reid.data.sampling import SUBSET_SIZES, subset_sizes
from skeleton_reid.engine.methods.base import LearningSettings, Method
from skeleton_reid.engine.options import PhaseOptions

SCALES = tuple("".join(some) for n in (1, 2, 3, 4) for some in combinations("IJPB", n))


@dataclass(frozen=True)
class SMSGESettings(LearningSettings):
    """SM-SGE (models/smsge.py)."""

    scales: str = option("IJPB", "some of hyper-joint I, joint J, part P, body B", choices=SCALES,
                         metavar="IJPB", type=lambda some: "".join(sorted(some, key="IJPB".find)))
    D_h: int = option(256, "units of every LSTM layer", type=positive_int)
    P: int = option(8, "heads of the graph attention", type=positive_int)
    n_hood: int = option(1, "edges up to which joints are neighbours", type=positive_int)
    global_att: int = option(0, "every two nodes are neighbours", **SWITCH)
    fusion_lambda: float = option(1.0, "weight of the collaborative relations", type=not_negative)
    struct_only: int = option(0, "no collaborative relations", **SWITCH)
    embedding_only: int = option(0, "no structural relations", **SWITCH)
    same_scale: int = option(0, "no cross-scale inference: rebuild the own scale alone", **SWITCH)
    single_level: InitVar[int] = option(0, "collaborative relations of weight 0", **SWITCH)
    loss: str = option("l1", "error of the rebuilt skeletons", choices=("l1", "l2", "MSE"))
    pred_margin: int = option(0, "frames ahead that are predicted; 0: reconstruction", type=int)
    sample_num: int = option(1, "rounds of frame subsets", type=positive_int)
    s_range: str = option("all", "sizes of the subsets", choices=SUBSET_SIZES)
    ord_sample: int = option(0, "the first frames instead of random subsets", **SWITCH)
    bi: int = option(0, "also subsets that are read backwards", **SWITCH)
    reverse: int = option(0, "windows that are read backwards", **SWITCH)
    subsets: str = option("resample", "for every batch, or once", choices=("resample", "fixed"))
    pre_epochs: int = option(120, "epochs of the encoder", type=positive_int)
    prefixes: str = option("f", "f+1: with the released code's extra one", choices=("f", "f+1"))
    last_pre: int = option(0, "recognise by the last prefix alone", **SWITCH)
    recognition_lr: float = option(0.0025, "learning rate of the recogniser", type=positive)
    recognition_epochs: int = option(100_000, "epochs of the recogniser", type=positive_int)
    best_from: int = option(1, "epoch from which the best is kept", type=positive_int)

    def __post_init__(self, single_level: int):
        if single_level:
            if self.fusion_lambda not in (0, SMSGESettings.fusion_lambda):
                raise InputError("--single_level is a --fusion_lambda of 0: use one of them")
            object.__setattr__(self, "fusion_lambda", 0.0)

    @property
    def variant(self) -> str:
        return self.scales

    def recogniser(self, probe: str) -> str:
        return f"recogniser_{probe}"  # splits can have settings of their own

    def check(self, options: PhaseOptions) -> None:
        subset_sizes(options.length, self.s_range, bool(self.bi), self.pred_margin)


@dataclass(frozen=True)
class SMSGEOptions(PhaseOptions):
    """Files."""

    pre_train: int = option(1, "0: reload the encoder", type=int, choices=(0, 1))
    save_flag: int = option(1, "0: keep no recogniser", type=int, choices=(0, 1))


METHOD = Method(
    name="SM-SGE",
    model="smsge.SMSGE",
    script="train_smsge.py",
    settings=SMSGESettings,
    options=SMSGEOptions,
    small={"D_h": 4, "P": 2, "batch_size": 20, "lr": 0.01, "recognition_lr": 0.01},
    published={
        (): {"lr": 0.0025},  # of the encoder
        ("KS20",): {"batch_size": 64, "lr": 0.0005, "pre_epochs": 200},
        ("IAS",): {"batch_size": 64, "best_from": 11},  # 10 in the released code, from 0
        ("IAS", "A"): {"batch_size": 128},
        ("KGBD",): {"D_h": 128, "pre_epochs": 160},
        ("BIWI",): {"lr": 0.005},
        ("CASIA_B",): {
            "batch_size": 128, "lr": 0.0005, "pre_epochs": 200, "recognition_lr": 0.0005
        },
        ("CASIA_B", "test"): {"pre_epochs": 160},  # cross-view
    },
    released={
        (): {"subsets": "fixed", "prefixes": "f+1"},
        ("IAS", "A"): {"batch_size": 64},  # the released code trains A with B's settings
    })  # fmt: skip
