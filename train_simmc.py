"""Train SimMC (IJCAI 2022) without labels and evaluate it by retrieval before every epoch.

    python train_simmc.py --dataset KS20 --probe probe                 the best model is kept
    python train_simmc.py --dataset KS20 --probe probe --resume        after an interruption
    python train_simmc.py --dataset KS20 --probe probe --mode Eval     score the saved best model
    python train_simmc.py --dataset IAS --probe A --eps 0.7 --seed 1   change one thing
    python train_simmc.py --dataset IAS --probe A --source AGE         on features of a trained AGE
    python train_simmc.py --dataset KGBD --tracklets                   recordings are the clusters

Data come from preprocess.py; a run's files lie in <out>/<dataset>/<probe>/ (docs/2-training.md).
"""

from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.engine.options import SimMCOptions, parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "SimMC", SimMCOptions))

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.engine import features, results
from skeleton_reid.engine.epochs import EarlyStopping, Timer
from skeleton_reid.engine.evaluation import known_classes, score_encoder
from skeleton_reid.engine.optimizer import TFAdam, one_thread
from skeleton_reid.engine.retrieval import describe, report, run_retrieval, stop_reason
from skeleton_reid.engine.run import Run, mean_losses
from skeleton_reid.models.simmc import SimMC, draw_masks, masked_mean, mean_of_clusters
from skeleton_reid.reid import cluster_quality
from skeleton_reid.reid.jaccard import cluster


def main() -> None:
    options = parse_training(__doc__, "SimMC", SimMCOptions)
    if options.save_features and not options.save_model:
        raise InputError("--save_features takes the best model: it needs --save_model 1")
    run_retrieval("SimMC", options, train)


def train(run: Run, options: SimMCOptions, device: torch.device) -> None:
    """Encode, evaluate, cluster and learn until top-1 is no better for `patience` epochs."""
    settings = options.settings
    rng = np.random.RandomState(options.seed)
    sets = features.load(options, settings, run.source, rng)
    classes = known_classes(sets, settings)  # (N,), in place of both clusterings; None: unknown
    dropped = (settings.mask_x, settings.mask_x_2)
    draw_masks(np.random.RandomState(0), sets.length, dropped)  # refuses what leaves no frame
    run.open()
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3) or (N, f, d)
    size, batches = settings.batch_size, -(-len(skeletons) // settings.batch_size)
    generator = torch.Generator().manual_seed(options.seed)
    model = SimMC(skeletons[0, 0].numel(), settings.H, settings.D, generator).to(device)
    optimizer = TFAdam(model.parameters(), settings.lr)
    best = EarlyStopping(settings.patience)
    parts = {"model": model, "optimizer": optimizer, "rng": rng, "best": best}
    epoch = run.resume(parts)
    describe(run, model, sets)
    with Timer(options.epochs, epoch, options.quiet, device, best) as timer:
        while True:
            with timer("encode"):
                masks = draw_masks(rng, sets.length, dropped * batches)  # two for every batch
                masks = torch.from_numpy(masks).to(device).unflatten(0, (batches, 2))
                whole, *views = encode_masked(model, skeletons, masks, size)  # (N, H) each
            with timer("evaluate"):
                figures = score_encoder(model, sets, options.protocol)
                line = results.retrieval_line(figures)
            if best.update(epoch, figures) and options.save_model:
                run.save_best(model, epoch, figures)
            row, losses, labels = dict(figures), {}, []
            reason = stop_reason(epoch, options.epochs, best)
            if reason is None:
                with timer("cluster"):
                    labels, how = [classes, classes], (settings.eps, settings.min_samples)
                    if classes is None:
                        labels = [cluster(v, *how, search=options.search) for v in views]
                    quality = labels, whole, sets.train.labels
                    row |= cluster_quality.figures(*quality, tight=bool(options.save_flag))
                    line += "  clusters {clusters_1}/{clusters_2}".format(**row)
                    line += "  outliers {outliers}  AMI {AMI_1:.3f}/{AMI_2:.3f}".format(**row)
                least = size if options.protocol == "released" else 1
                if len(skeletons) - row["outliers"] < least:
                    reason = "no clusters, or less than a batch: "
                    reason += f"{row['outliers']} of {len(skeletons)} are noise"
            if reason is None:
                with timer("learn"):
                    losses = learn(model, optimizer, skeletons, masks, views, labels, options)
            run.end_epoch(epoch, row, losses, line, timer.end_epoch(epoch), labels)
            if reason is not None:
                break
            epoch += 1
            run.save_last(epoch, parts)
    if epoch == 0:
        raise InputError(f"nothing was trained: {reason}; try a larger --eps")
    if options.save_flag:
        run.save_arrays()
    report(run, best.figures, figures, epoch, reason)


@one_thread()
@torch.no_grad()
def encode_masked(model: SimMC, skeletons: Tensor, masks: Tensor, size: int) -> list[Tensor]:
    """Features of the whole sequences and under either mask of their batch: three (N, H)."""
    def encode(batch: Tensor, pair: Tensor) -> tuple[Tensor, ...]:
        frames = model.encode(batch)  # (B, f, H)
        return frames.mean(dim=1), *(masked_mean(frames, mask) for mask in pair)

    return processes.divided(encode, skeletons.split(size), masks)


@one_thread()
def learn(model: SimMC, optimizer: TFAdam, skeletons: Tensor, masks: Tensor, views: list[Tensor],
          labels: list[np.ndarray], options: SimMCOptions) -> dict[str, float]:
    """One Adam step a batch, over the sequences that are noise in neither clustering, in order.

    views: two (N, H), features under either mask; labels: two (N,). A batch has the masks that its
    number had in the encoding (docs/5-fidelity.md, mask-of-batch-number). Returns the mean losses.
    """
    settings, size = options.settings, options.settings.batch_size
    y = torch.from_numpy(np.stack(labels)).to(skeletons.device)  # (2, N)
    prototypes = [mean_of_clusters(v, k) for v, k in zip(views, y, strict=True)]  # (K, H) each
    kept = (y >= 0).all(dim=0).nonzero().squeeze(1)
    if options.protocol == "released":
        kept = kept[:len(kept) // size * size]
    batches = []
    for batch, mask in zip(kept.split(size), masks, strict=False):
        own, weight = processes.part(len(batch))
        losses = model.losses(skeletons[batch[own]], mask, y[:, batch[own]], prototypes, settings.t,
                              settings.mask_lambda, y[:, batch].any(dim=1))
        optimizer.zero_grad()
        losses["total"].backward()
        batches.append(processes.average_gradients(losses, model.parameters(), weight))
        optimizer.step()
    return mean_losses(batches)


if __name__ == "__main__":
    run_command(main)
