"""Train SM-SGE (ACM MM 2021): a multi-scale graph encoder without labels, then a recognition
network on its states.

    python train_smsge.py --dataset KS20                          both phases
    python train_smsge.py --dataset IAS --split A                 split A's setting; figures of A and B
    python train_smsge.py --dataset IAS --split B --pre_train 0   the same encoder, B's setting
    python train_smsge.py --dataset KS20 --resume                 go on after an interruption
    python train_smsge.py --dataset KS20 --mode Eval              score the saved best models
    python train_smsge.py --dataset KS20 --scales JPB             an ablation
    python train_smsge.py --dataset CASIA_B --view 0              cross-view recognition, 20 frames
    python train_smsge.py --dataset KS20 --task retrieval         encoder from the training split alone

Data come from preprocess.py. Settings not given are the published ones (engine/settings.py). --task
recognition trains on the recognition training set (with KGBD's and KS20's gallery, without BIWI's
untested persons) and shows retrieval by the same encoder beside it; --task retrieval trains as the
retrieval tables ask, and is all that CASIA_B has without a view. --split names the setting, the
test split that the results begin with, and the probes of retrieval.

Files of a run, in <out>/SM-SGE/<dataset>/<scales> (of a view .../view_<v>_<scales>; with --task
retrieval .../<scales>_retrieval): log.txt, results.json, the encoder encoder/best.pt, encoder and
recogniser recogniser_<split>/best_<test>.pt and final.pt; in both folders last.pt (to resume) and
history.csv.
"""

import argparse

import numpy as np
import torch

from common import command_line
from common.errors import InputError, run_command
from data import Recognition, datasets
from data.frame_subsets import SUBSET_SIZES, draw_subsets
from data.resample import training_order
from engine import options, recognition_training
from engine import pretraining as two_phases
from engine.encoding import encode_rows
from engine.joint_step import JointStep
from engine.recognisers import Recogniser, Rows, rows_of_test
from engine.run import Run
from engine.settings import choose
from engine.timer import Stages
from models.smsge import LOSSES, SCALES, SMSGE

SAVE_SECONDS = 30  # between two states of the encoder, 70 MB each
DRAWN = (
    "sample_num",
    "s_range",
    "ord_sample",
    "bi",
    "pred_margin",
)  # settings of the frame subsets
# Settings of the recogniser: a run of the encoder can be gone on with under others.
RECOGNISER = (
    "prefixes",
    "last_pre",
    "recognition_lr",
    "best_from",
    *recognition_training.CHANGEABLE,
)


def main() -> None:
    args = parse_arguments()
    chosen = choose("SM-SGE", args.protocol, args.dataset, args.probe, vars(args))
    draw(
        np.random.RandomState(0), args.length, chosen
    )  # refuses subsets that such windows do not have
    two_phases.carry_out("SM-SGE", args, chosen, chosen["scales"], recogniser_name(args), train)


def train(run: Run, device: torch.device) -> None:
    """Multi-scale graph encoding without labels, then person re-identification on the frozen states
    (Section 3).
    """
    args = run.args
    sets = two_phases.load(run)
    rng = np.random.RandomState(args.seed)
    balance = run.settings["balance"] and datasets.get(args.dataset).balanced
    order = training_order(
        sets.train.labels, run.settings["batch_size"], rng, balance
    )  # permuted once
    model, generator = new_model(run, sets.joints)
    model.to(device)
    two_phases.describe(run, model, order, sets)
    encoder_phase = two_phases.phase(run, "encoder")
    if args.pre_train:
        train_encoder(
            encoder_phase, model, torch.from_numpy(sets.train.skeletons).to(device), order, rng
        )
    else:
        two_phases.reload_encoder(encoder_phase, model)
    content = {}
    if args.task == "recognition":
        found = train_recogniser(run, model, sets, order, generator)
        content = recognition_training.summary(found, two_phases.headline(args, sets.tests))
        print(f"{run.title}\n" + recognition_training.table(found, "SM-SGE"))
    retrieval = two_phases.score_retrieval(run, device, new_model(run, sets.joints)[0].to(device))
    run.write_results(
        content | ({"retrieval": retrieval} if args.task == "recognition" else retrieval)
    )


def new_model(run: Run, joints: int) -> tuple[SMSGE, torch.Generator]:
    """The encoder with its initial weights, and the generator that has drawn them from the seed."""
    chosen = run.settings
    generator = torch.Generator().manual_seed(run.args.seed)
    numbers = {
        name: chosen[name] for name in ("scales", "n_hood", "fusion_lambda", "loss", "pred_margin")
    }
    switches = {name: bool(chosen[name]) for name in ("global_att", "struct_only", "reverse")}
    model = SMSGE(
        joints, chosen["D_h"], heads=chosen["P"], **numbers, **switches, generator=generator
    )
    return model, generator


def train_encoder(
    run: Run, model: SMSGE, skeletons: torch.Tensor, order: np.ndarray, rng: np.random.RandomState
) -> None:
    """Rebuild the graphs of the sequences `order` of skeletons (N, f, J, 3) from frame subsets.

    The order and the batches are fixed; the subsets come from rng. The last weights count.
    """
    chosen, f, whole = run.settings, skeletons.shape[1], run.args.protocol == "released"
    size, device = chosen["batch_size"], skeletons.device
    batches = recognition_training.split_batches(order, size, whole, "sequences", device)
    graphs = model.graphs(skeletons)  # by scale, (N, f, nodes, 3)
    step = JointStep(model, chosen["lr"])
    fixed = draw(rng, f, chosen) if chosen["subsets"] == "fixed" else None
    parts = {"model": model, "step": step, "rng": rng}
    epoch = run.resume(parts, RECOGNISER)
    stages = Stages(chosen["pre_epochs"], epoch, run.args.quiet, device)
    while epoch < chosen["pre_epochs"]:
        found = []
        with stages("learn"):
            for batch in batches:
                subsets = fixed or draw(rng, f, chosen)
                losses = step({scale: x[batch] for scale, x in graphs.items()}, subsets)
                found.append(torch.stack(list(losses.values())))
            means = torch.stack(found).mean(dim=0).tolist()
        epoch += 1
        row = {f"loss_{scale}": loss for scale, loss in zip(model.scales, means, strict=True)}
        line = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
        run.end_epoch({"epoch": epoch} | row, line, stages.end_epoch())
        run.save_last(epoch, parts, seconds=0 if epoch == chosen["pre_epochs"] else SAVE_SECONDS)
    run.save_best(model, epoch, {})


def draw(rng: np.random.RandomState, f: int, chosen: dict) -> list[np.ndarray]:
    """Frame subsets of windows of f frames. Raises InputError for settings under which there are
    none.
    """
    return draw_subsets(rng, f, **{name: chosen[name] for name in DRAWN})


def train_recogniser(
    run: Run, model: SMSGE, sets: Recognition, order: np.ndarray, generator: torch.Generator
) -> dict[str, dict]:
    """Train the recognition network on the states of the sequences `order`. Returns best and last
    by test.
    """
    args, chosen = run.args, run.settings
    rows = encode_rows(model, sets.train.skeletons, chosen)  # (N, prefixes, 4 D_h), computed once
    tests = {
        name: rows_of_test(model, test.skeletons, test.labels, chosen, args.protocol)
        for name, test in sets.tests.items()
    }
    width, combine = rows.shape[2], "last" if chosen["last_pre"] else "sum"
    recogniser = Recogniser(width, len(sets.persons), width, combine, generator).to(rows.device)
    plan = recognition_training.Plan(
        epochs=chosen["recognition_epochs"],
        batch_size=chosen["batch_size"],
        lr=chosen["recognition_lr"],
        whole_batches=args.protocol == "released",
        best_from=chosen["best_from"],
        patience=chosen["patience"],
        save=bool(args.save_flag),
    )
    labels = torch.from_numpy(sets.train.labels).to(rows.device)
    phase = two_phases.phase(run, recogniser_name(args))
    return recognition_training.train(
        phase, model, recogniser, sets.persons, Rows(rows, labels), order, tests, plan
    )


def recogniser_name(args: argparse.Namespace) -> str:
    """The recogniser's phase: splits can have settings of their own."""
    return f"recogniser_{args.probe}"


def parse_arguments() -> argparse.Namespace:
    parser = options.training_parser(__doc__)
    two_phases.add_arguments(parser)
    group = parser.add_argument_group("SM-SGE (default: the published setting of the data set)")
    add_model_arguments(group)
    add_training_arguments(group)
    args = parser.parse_args()
    two_phases.check(args)
    if args.single_level:
        if args.fusion_lambda:
            raise InputError("--single_level is a --fusion_lambda of 0: use one of them")
        args.fusion_lambda = 0.0
    return args


def add_model_arguments(group) -> None:
    """What SMSGE is built with, and the frames that it reads."""
    group.add_argument(
        "--scales", type=scale_letters, help="some of hyper-joint I, joint J, part P, body B"
    )
    group.add_argument("--D_h", type=command_line.positive_int, help="units of every LSTM layer")
    group.add_argument("--P", type=command_line.positive_int, help="heads of the graph attention")
    group.add_argument(
        "--n_hood", type=command_line.positive_int, help="edges up to which joints are neighbours"
    )
    group.add_argument(
        "--fusion_lambda",
        type=command_line.not_negative,
        help="weight of the collaborative relations",
    )
    group.add_argument(
        "--sample_num", type=command_line.positive_int, help="rounds of frame subsets"
    )
    group.add_argument("--s_range", choices=SUBSET_SIZES, help="sizes of the subsets")
    group.add_argument("--loss", choices=LOSSES)
    group.add_argument(
        "--pred_margin", type=int, help="frames ahead that are predicted (0: reconstruction)"
    )
    for name, text in (
        ("global_att", "every two nodes are neighbours"),
        ("struct_only", "no collaborative relations"),
        ("single_level", "collaborative relations of weight 0"),
        ("ord_sample", "the first frames instead of random subsets"),
        ("bi", "also subsets that are read backwards"),
        ("reverse", "windows that are read backwards"),
        ("last_pre", "recognise by the last prefix alone"),
    ):
        group.add_argument(f"--{name}", type=int, choices=(0, 1), nargs="?", const=1, help=text)


def add_training_arguments(group) -> None:
    """How encoder and recogniser are trained."""
    group.add_argument(
        "--pre_train", type=int, choices=(0, 1), default=1, help="0: reload the encoder"
    )
    group.add_argument(
        "--save_flag", type=int, choices=(0, 1), default=1, help="0: keep no recogniser"
    )
    group.add_argument(
        "--subsets", choices=("resample", "fixed"), help="drawn for every batch, or once"
    )
    group.add_argument(
        "--prefixes", choices=("f", "f+1"), help="f+1: with the released code's extra one"
    )
    group.add_argument(
        "--recognition_lr", type=command_line.positive, help="learning rate of the recogniser"
    )
    options.add_learning_arguments(
        group, " of the encoder", "test in recognition", "as published (uses labels)"
    )


def scale_letters(text: str) -> str:
    """argparse type: some of the letters I, J, P, B, each once, put from fine to coarse."""
    if not text or set(text) - set(SCALES) or len(set(text)) < len(text):
        raise argparse.ArgumentTypeError(
            f"expected some of the letters {SCALES}, each once, found {text!r}"
        )
    return "".join(sorted(text, key=SCALES.index))


if __name__ == "__main__":
    run_command(main)
