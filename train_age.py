"""Train AGE (IJCAI 2020): three encoder-decoders without labels, then a recognition network on
their encodings.

    python train_age.py --dataset IAS                                      both phases; splits A and B from one run
    python train_age.py --dataset BIWI --attention LA --manner ap          the published options
    python train_age.py --dataset IAS --resume --manner sc                 same encoders, another recognition network
    python train_age.py --dataset IAS --mode Eval                          score the saved best models
    python train_age.py --dataset KS20 --task retrieval                    encoders from the training split alone
    python train_age.py --dataset CASIA_B --view 3 --length 20             cross-view recognition

Data come from preprocess.py. Settings not given are the published ones (engine/settings.py). --task
recognition trains on the recognition training set (with KGBD's and KS20's gallery, without BIWI's
untested persons) and shows retrieval by the same encoders beside it; --task retrieval trains as the
retrieval tables ask, and is all that CASIA_B has without a view. --probe names the test split that
the results begin with and the probes of retrieval; it does not enter recognition training.

Files of a run, in <out>/AGE/<dataset>/<attention> (of a view .../view_<v>_<attention>; with --task
retrieval .../<attention>_retrieval): log.txt, results.json, alignment.png, the encoders
encoder/best.pt, encoders and recogniser <manner>/best_<split>.pt and final.pt (--feature states:
<manner>_states/...); in both folders last.pt (to resume) and history.csv. Attention of several runs
side by side: python -m tools.attention.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from common import command_line
from common.errors import InputError, run_command
from data import Recognition
from data.resample import training_order
from engine import evaluation as protocol
from engine import options, recognition_training
from engine import pretraining as two_phases
from engine.encoding import encode_rows
from engine.optimizer import TFAdam
from engine.recognisers import Recogniser, Rows, rows_of_test
from engine.run import Run
from engine.settings import choose
from engine.timer import Stages
from models.age import AGE, AXES, CLIP, stops
from tools import attention

VALIDATE_EVERY = 50  # batches of an epoch
TEST_EVERY = 50  # steps of the recognition network
SAVE_SECONDS = 30  # between two states of the encoders, 75 MB each


def main() -> None:
    args = parse_arguments()
    settings = choose("AGE", args.protocol, args.dataset, args.probe, vars(args))
    two_phases.carry_out(
        "AGE", args, settings, settings["attention"], recogniser_name(settings), train
    )


def train(run: Run, device: torch.device) -> None:
    """Self-supervised gait encoding, then person re-identification on the frozen encodings (Section
    3).
    """
    args = run.args
    sets = two_phases.load(run)
    tests = sets.tests if args.task == "recognition" else {args.probe: sets.probe}
    shown = two_phases.headline(args, tests)
    rng = np.random.RandomState(args.seed)
    size, balance = run.settings["batch_size"], run.settings["balance"]
    order = training_order(sets.train.labels, size, rng, balance)  # permuted once
    model, generator = new_model(run, sets.joints)
    model.to(device)
    two_phases.describe(run, model, order, sets)
    encoder_phase = two_phases.phase(run, "encoder")
    train_encoders(encoder_phase, model, torch.from_numpy(sets.train.skeletons).to(device), order)
    title = f"Attention of AGE on {args.dataset} {shown}"
    models = {run.settings["attention"]: model}
    drawn = attention.draw(run.path("alignment.png"), models, tests[shown].skeletons, title)
    content = {"attention": drawn[run.settings["attention"]]}
    if args.task == "recognition":
        found = train_recogniser(run, model, sets, order, rng, generator)
        content |= recognition_training.summary(found, shown)
        print(f"{run.title}\n" + recognition_training.table(found, "AGE"))
    retrieval = two_phases.score_retrieval(run, device, new_model(run, sets.joints)[0].to(device))
    run.write_results(
        content | ({"retrieval": retrieval} if args.task == "recognition" else retrieval)
    )


def new_model(run: Run, joints: int) -> tuple[AGE, torch.Generator]:
    """The encoders with their initial weights, and the generator that has drawn them from the
    seed.
    """
    generator = torch.Generator().manual_seed(run.args.seed)
    options = {
        name: run.settings[name] for name in ("hidden", "decoder_input", "target", "attention")
    }
    options["count_copies"] = run.args.protocol == "released"
    return AGE(joints, **options, generator=generator), generator


def train_encoders(run: Run, model: AGE, skeletons: torch.Tensor, order: np.ndarray) -> None:
    """Rebuild the sequences `order` of skeletons (N, f, J, 3), in fixed batches; the last weights
    count.
    """
    settings = run.settings
    batches = encoder_batches(run, order, skeletons)
    optimizers = [TFAdam(axis.parameters(), settings["lr"]) for axis in model.axes.values()]
    validation = Validation()
    parts = {"model": model, "validation": validation}
    parts |= {f"optimizer_{name}": part for name, part in zip(AXES, optimizers, strict=True)}
    epoch = run.resume(parts, (*recognition_training.CHANGEABLE, "manner", "feature"))
    stages = Stages(settings["pre_epochs"], epoch, run.args.quiet, skeletons.device)
    while epoch < settings["pre_epochs"] and not validation.all_stopped:
        found = []
        with stages("learn"):
            for number, batch in enumerate(batches):
                model.zero_grad()
                losses = model.losses(skeletons[batch])
                losses["total"].sum().backward()
                torch.nn.utils.clip_grad_value_(model.parameters(), CLIP)
                for axis, optimizer in enumerate(optimizers):
                    if axis not in validation.stopped:
                        optimizer.step()
                found.append(
                    torch.stack([losses[name].detach() for name in ("reconstruction", "locality")])
                )
                if number % VALIDATE_EVERY == 0 and validation.look(model, skeletons[batches[0]]):
                    break
        epoch += 1
        row = describe_epoch(model, skeletons[batches[0]], torch.stack(found).mean(dim=0))
        line = "  ".join(f"{name} {value:.3f}" for name, value in row.items())
        run.end_epoch({"epoch": epoch} | row, line, stages.end_epoch())
        done = epoch == settings["pre_epochs"] or validation.all_stopped
        run.save_last(epoch, parts, seconds=0 if done else SAVE_SECONDS)
    run.save_best(model, epoch, {})


def encoder_batches(run: Run, order: np.ndarray, skeletons: torch.Tensor) -> list[torch.Tensor]:
    """Sequence numbers of each batch. Raises InputError if there is no batch."""
    size, N = run.settings["batch_size"], len(skeletons)
    if run.settings["two_thirds"]:
        order = order[order < N - -(-N // 3)]  # first in the order of the files
    whole = run.args.protocol == "released"
    return recognition_training.split_batches(order, size, whole, "sequences", skeletons.device)


class Validation:
    """Reconstruction losses of the first batch, by axis, and the axes that the released rule has
    stopped.
    """

    def __init__(self):
        self.losses: list[list[float]] = [[], [], []]
        self.stopped: list[int] = []

    @torch.no_grad()
    def look(self, model: AGE, batch: torch.Tensor) -> bool:
        """Validate on a batch (B, f, J, 3). Returns whether every axis has stopped."""
        for axis, loss in enumerate(model.losses(batch)["reconstruction"].tolist()):
            if axis not in self.stopped:
                self.losses[axis].append(loss)
                if stops(self.losses[axis]):
                    self.stopped.append(axis)
        return self.all_stopped

    @property
    def all_stopped(self) -> bool:
        return len(self.stopped) == len(AXES)

    def state_dict(self) -> dict[str, list]:
        return {"losses": self.losses, "stopped": self.stopped}

    def load_state_dict(self, state: dict[str, list]) -> None:
        self.losses, self.stopped = state["losses"], state["stopped"]


def describe_epoch(model: AGE, batch: torch.Tensor, losses: torch.Tensor) -> dict[str, float]:
    """Columns of the history, by axis: mean losses (2, 3) of the epoch, attention near its target
    in a batch.
    """
    near = attention.near_target(attention.mean_alignment(model, batch), model.target)
    names = [f"{name}_{axis}" for name in ("rec", "loc", "near") for axis in AXES]
    return dict(zip(names, torch.cat([losses.flatten(), near]).tolist(), strict=True))


def train_recogniser(
    run: Run,
    model: AGE,
    sets: Recognition,
    order: np.ndarray,
    rng: np.random.RandomState,
    generator: torch.Generator,
) -> dict[str, dict]:
    """Train the recognition network on the encodings of the sequences `order`. Returns best and
    last by test.
    """
    args, settings = run.args, run.settings
    released = args.protocol == "released"
    rows = encode_rows(model, sets.train.skeletons, settings)  # (N, f or 1, d)
    R = rows.shape[1]
    if released:
        order = protocol.padded_batches(sets.train.labels, settings["batch_size"])
    numbers = rng.permutation(
        (order[:, None] * R + np.arange(R)).ravel()
    )  # single rows, permuted once
    labels = torch.from_numpy(sets.train.labels).to(rows.device).repeat_interleave(R)
    tests = {
        name: rows_of_test(model, test.skeletons, test.labels, settings, args.protocol)
        for name, test in sets.tests.items()
    }
    recogniser = Recogniser(rows.shape[2], len(sets.persons), settings["hidden"], "mean", generator)
    plan = recognition_training.Plan(
        epochs=settings["recognition_epochs"],
        batch_size=settings["batch_size"],
        lr=settings["lr"],
        whole_batches=released,
        test_every=TEST_EVERY,
        ties=True,
        patience=settings["patience"],
    )
    training = Rows(rows.flatten(0, 1)[:, None], labels)
    return recognition_training.train(
        two_phases.phase(run, recogniser_name(settings)),
        model, recogniser.to(rows.device), sets.persons, training, numbers, tests, plan,
    )  # fmt: skip


def recogniser_name(settings: Mapping[str, Any]) -> str:
    """The recogniser's phase: its manner, and what it is given if that is not the encodings."""
    return settings["manner"] + (
        "" if settings["feature"] == "encodings" else f"_{settings['feature']}"
    )


def parse_arguments() -> argparse.Namespace:
    parser = options.training_parser(__doc__)
    two_phases.add_arguments(parser)
    group = parser.add_argument_group("AGE (default: the published setting of the data set)")
    group.add_argument(
        "--attention", choices=("LA", "BA", "MBA"), help="locality-aware, basic, masked"
    )
    group.add_argument(
        "--manner", choices=("ap", "sc"), help="average the rows' predictions, or join the rows"
    )
    group.add_argument(
        "--feature",
        choices=("encodings", "states"),
        help="what is recognised; states: the encoder's h",
    )
    group.add_argument(
        "--decoder_input", choices=("zeros", "previous"), help="previous: the target frame before"
    )
    group.add_argument(
        "--target", choices=("reverse", "same"), help="order in which sequences are rebuilt"
    )
    group.add_argument(
        "--centred", action=argparse.BooleanOptionalAction, help="hip centre as the origin"
    )
    group.add_argument(
        "--two_thirds",
        action=argparse.BooleanOptionalAction,
        help="encoders train on the first two thirds",
    )
    group.add_argument("--hidden", type=command_line.positive_int, help="units of every layer")
    options.add_learning_arguments(
        group, "", "test in recognition", "which the released AGE does not (uses labels)"
    )
    args = parser.parse_args()
    two_phases.check(args)
    if args.length < 2:
        raise InputError(
            f"AGE's attention needs windows of at least 2 frames, found --length {args.length}"
        )
    if args.balance and args.protocol == "released":
        raise InputError(
            "the released AGE does not resample: leave out --balance or --protocol released"
        )
    return args


if __name__ == "__main__":
    run_command(main)
