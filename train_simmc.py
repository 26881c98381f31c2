"""Train SimMC (IJCAI 2022) without labels and evaluate it by retrieval before every epoch.

    python train_simmc.py --dataset KS20 --probe probe                 train; the best model is kept
    python train_simmc.py --dataset KS20 --probe probe --resume        go on after an interruption
    python train_simmc.py --dataset KS20 --probe probe --mode Eval     score the saved best model
    python train_simmc.py --dataset IAS --probe A --eps 0.7 --seed 1   change one thing
    python train_simmc.py --dataset IAS --probe A --source AGE         on the frame features of a trained AGE
    python train_simmc.py --dataset IAS --probe A --source FILE.npz    on feature files of any model

Data come from preprocess.py. Settings not given are the published ones (engine/settings.py). Files
of a run, in <out>/<dataset>/<probe>/ (with --source <out>/<source>+SimMC/<dataset>/<probe>/):
best.pt, last.pt (to resume), history.csv, log.txt, results.json. CASIA_B's lie in <out>/CASIA_B/
and begin with the probe: nm.nm_best.pt, ...
"""

import argparse

import numpy as np
import torch

from common import command_line
from common.errors import InputError, run_command
from engine import options, results, retrieval_training, sources
from engine.encoding import score_encoder
from engine.optimizer import TFAdam
from engine.run import Best, Run
from engine.settings import choose
from engine.sources import Source
from engine.threads import one_thread
from engine.timer import Stages
from models.simmc import SimMC, check_masks, draw_masks, masked_mean, mean_of_clusters
from reid import cluster_quality
from reid.jaccard import cluster


def main() -> None:
    args = parse_arguments()
    settings = choose("SimMC", args.protocol, args.dataset, args.probe, vars(args))
    retrieval_training.carry_out("SimMC", args, settings, train)


def train(run: Run, source: Source | None, device: torch.device) -> None:
    """Encode, evaluate, cluster, learn, until the best top-1 is `patience` epochs old (the paper's
    section 3).

    source: where frame features come from; the encoder is given these in place of skeletons.
    """
    args, settings = run.args, run.settings
    rng = np.random.RandomState(args.seed)
    sets = sources.load(args, settings["batch_size"], source, rng)
    check_masks(sets.length, (settings["mask_x"], settings["mask_x_2"]))
    generator = torch.Generator().manual_seed(args.seed)
    inputs = sets.train.skeletons[0, 0].size  # J * 3, or d
    model = SimMC(inputs, settings["H"], settings["D"], generator).to(device)
    optimizer = TFAdam(model.parameters(), settings["lr"])
    best = Best(settings["patience"])
    parts = {"model": model, "optimizer": optimizer, "rng": rng, "best": best}
    epoch = run.resume(parts)
    retrieval_training.describe(run, model, sets)
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3) or (N, f, d)
    stages = Stages(args.epochs, epoch, args.quiet, device)
    while True:
        with stages("encode"):
            masks = draw_batch_masks(rng, len(skeletons), sets.length, settings).to(
                device
            )  # (batches, 2, f)
            whole, first, second = encode_masked(
                model, skeletons, masks, settings["batch_size"]
            )  # (N, H)
        with stages("evaluate"):
            figures = score_encoder(model, sets, args.protocol)
        if best.update(epoch, figures) and args.save_model:
            run.save_best(model, epoch, figures)
        row = {"epoch": epoch, **figures}
        stop = retrieval_training.stop_reason(epoch, args.epochs, best)
        if stop is None:
            with stages("cluster"):
                labels = [
                    cluster(v, settings["eps"], settings["min_samples"]) for v in (first, second)
                ]
                row |= cluster_quality.figures(labels, whole, sets.train.labels, args.save_flag)
            if min(row["clusters_1"], row["clusters_2"]) == 0 or row["outliers"] == len(skeletons):
                stop = f"no clusters to learn from: {row['outliers']} of {len(skeletons)} sequences are noise"
        if stop is not None:
            run.end_epoch(row, describe_epoch(row), stages.end_epoch())
            break
        with stages("learn"):
            row |= learn(
                model, optimizer, skeletons, masks, (first, second), labels, settings, args.protocol
            )
        run.end_epoch(row, describe_epoch(row), stages.end_epoch())
        epoch += 1
        run.save_last(epoch, parts)
    if epoch == 0:
        raise InputError(
            f"nothing was trained: {stop}; try a larger --eps or a smaller --min_samples"
        )
    if args.save_flag:
        run.save_arrays()
    retrieval_training.report(run, source, best, figures, epoch, stop)


def draw_batch_masks(
    rng: np.random.RandomState, sequences: int, f: int, settings: dict
) -> torch.Tensor:
    """Two masks for every batch, remembered by the batch's number. Returns (batches, 2, f) bool."""
    batches = -(-sequences // settings["batch_size"])
    dropped = (settings["mask_x"], settings["mask_x_2"])
    return torch.from_numpy(np.stack([draw_masks(rng, f, dropped) for _ in range(batches)]))


@one_thread
@torch.no_grad()
def encode_masked(
    model: SimMC, skeletons: torch.Tensor, masks: torch.Tensor, batch_size: int
) -> list[torch.Tensor]:
    """Features of the whole sequences and under either mask of their batch: three tensors (N,
    H).
    """
    found = []
    for batch, (mask_1, mask_2) in zip(skeletons.split(batch_size), masks, strict=True):
        frames = model.encode(batch)  # (B, f, H)
        found.append((frames.mean(dim=1), masked_mean(frames, mask_1), masked_mean(frames, mask_2)))
    return [torch.cat(features) for features in zip(*found, strict=True)]


@one_thread
def learn(
    model, optimizer, skeletons, masks, features, labels, settings, protocol
) -> dict[str, float]:
    """One Adam step a batch, over the sequences that are noise in neither clustering, in their
    fixed order.

    features: two tensors (N, H); labels: two arrays (N,). The masks of a batch are those that its
    number had in the encoding, although noise has moved the sequences (docs/FIDELITY.md, line 4).
    Returns the mean losses.
    """
    labels = torch.from_numpy(np.stack(labels)).to(skeletons.device)  # (2, N)
    prototypes = [
        mean_of_clusters(v, y) for v, y in zip(features, labels, strict=True)
    ]  # (K, H) each
    kept = (labels >= 0).all(dim=0).nonzero().squeeze(1)
    if protocol == "released":
        kept = kept[: len(kept) // settings["batch_size"] * settings["batch_size"]]
        if len(kept) == 0:
            raise InputError(
                "--protocol released: noise leaves less than a batch to learn from; try a larger --eps"
            )
    losses = []
    for batch, mask in zip(kept.split(settings["batch_size"]), masks, strict=False):
        loss = model.losses(
            skeletons[batch],
            mask,
            labels[:, batch],
            prototypes,
            settings["t"],
            settings["mask_lambda"],
        )
        optimizer.zero_grad()
        loss["total"].backward()
        optimizer.step()
        losses.append(torch.stack([loss["MPC"], loss["MIC"]]).detach())
    mpc, mic = torch.stack(losses).mean(dim=0).tolist()
    return {"MPC": mpc, "MIC": mic}


def describe_epoch(row: dict) -> str:
    """One line for the log."""
    line = "  ".join(f"{title} {100 * row[key]:.1f}" for key, title in results.RETRIEVAL.items())
    if "outliers" in row:
        line += f"  clusters {row['clusters_1']}/{row['clusters_2']}  outliers {row['outliers']}"
    if "MPC" in row:
        line += f"  MPC {row['MPC']:.3f}  MIC {row['MIC']:.3f}  AMI {row['AMI_1']:.3f}/{row['AMI_2']:.3f}"
    return line


def parse_arguments() -> argparse.Namespace:
    parser = options.training_parser(__doc__)
    sources.add_argument(parser, "train on frame features in place of skeletons")
    group = parser.add_argument_group("SimMC (default: the published setting of the data set)")
    group.add_argument("--H", type=command_line.positive_int, help="feature size")
    group.add_argument("--D", type=command_line.positive_int, help="hidden layers of the encoder")
    group.add_argument("--mask_x", type=int, help="frames that the first mask leaves out")
    group.add_argument(
        "--mask_x_2", type=int, help="frames that the second mask leaves out (default: mask_x)"
    )
    group.add_argument(
        "--mask_lambda",
        "--lambda",
        type=command_line.share,
        help="weight of the intra-sequence contrast (MIC)",
    )
    group.add_argument("--t", type=command_line.positive, help="temperature")
    group.add_argument(
        "--eps",
        type=command_line.below_one,
        help="DBSCAN: Jaccard distance within which sequences are neighbours",
    )
    group.add_argument(
        "--min_samples",
        type=command_line.positive_int,
        help="DBSCAN: neighbours that make a core sequence",
    )
    options.add_learning_arguments(group, "", "top-1", "as published (uses labels)")
    group.add_argument(
        "--save_model", type=int, choices=(0, 1), default=1, help="1: keep the best model (default)"
    )
    group.add_argument(
        "--save_flag",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: also mACT and mRCL, and every figure by epoch as an array file",
    )
    args = parser.parse_args()
    retrieval_training.check(args)
    if args.save_features and not args.save_model:
        raise InputError(
            "--save_features writes the features of the saved best model: it needs --save_model 1"
        )
    return args


if __name__ == "__main__":
    run_command(main)
