"""AGE's attention: how near to its target it is, its mean over a test set, and pictures of that.

    python -m tools.attention LA/encoder/best.pt BA/encoder/best.pt --dataset BIWI --out la_ba.png

draws trained models of AGE side by side, a row each, with the locality mask beside them: their
alignment averaged over the same test set (--probe; by default the first) of the data set that they
were trained on. The suffix of --out chooses the format: .png, .pdf, .svg, ... train_age.py draws
that of its own run.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import command_line
from common.errors import InputError, run_command
from data import datasets
from engine import encoding as saved
from engine import options, recognisers, results
from models.age import AGE, locality_mask
from tools import pictures

BATCH = 512  # sequences; bounds memory


def near_target(alignment: Tensor, target: str) -> Tensor:
    """Share of the attention within one frame of the frame that the step rebuilds: (3, f, f) ->
    (3,).
    """
    f = alignment.shape[2]
    rebuilt = locality_mask(f, target).argmax(dim=1)
    near = (torch.arange(f) - rebuilt[:, None]).abs() <= 1
    return (alignment * near.to(alignment)).sum(dim=2).mean(dim=1)


@torch.no_grad()
def mean_alignment(model: AGE, skeletons: np.ndarray | Tensor) -> Tensor:
    """The alignment of each axis averaged over skeletons (N, f, J, 3): (3, f, f) on the model's
    device.
    """
    device = next(model.parameters()).device
    parts = torch.as_tensor(skeletons).split(BATCH)
    sums = [model.encode(part.to(device))["alignment"].sum(dim=1) for part in parts]
    return torch.stack(sums).sum(dim=0) / len(skeletons)


def draw(
    path: Path, models: Mapping[str, AGE], skeletons: np.ndarray, title: str
) -> dict[str, dict]:
    """Draw the mean alignment of models by name over a test set beside the locality mask.

    Returns for each model the mean alignment and its share near the frames that are rebuilt, by
    axis.
    """
    means = {name: mean_alignment(model, skeletons) for name, model in models.items()}
    target = next(iter(models.values())).target
    mask = locality_mask(skeletons.shape[1], target).numpy()
    matrices = {name: mean.cpu().numpy() for name, mean in means.items()}
    pictures.alignment(path, matrices, mask, f"{title}, mean of {len(skeletons)} sequences")
    return {
        name: {"near_target": near_target(mean, target).tolist(), "alignment": mean.tolist()}
        for name, mean in means.items()
    }


def main() -> None:
    args = parse_arguments()
    command_line.start_log(args.quiet)
    headers = [saved.read_header(path) for path in args.checkpoints]
    first = headers[0]
    for path, header in zip(args.checkpoints, headers, strict=True):
        if header["method"] != "AGE":
            raise InputError(f"{path}: expected a model of AGE, found {header['method']}")
        if header["dataset"] != args.dataset:
            raise InputError(
                f"{path} was trained on {header['dataset']}, found --dataset {args.dataset}: attention is drawn on "
                "the data set that the model has learned"
            )
        for name in ("length", "view", "task", "target", "centred"):
            wanted, found = ({**h, **h["settings"]}.get(name) for h in (first, header))
            if found != wanted:
                raise InputError(
                    f"{path} has {name} = {found}, {args.checkpoints[0]} has {wanted}: "
                    "only models of the same test sequences and target compare"
                )
    args.length, args.view = args.length or first["length"], first["view"]
    device, sets, test = command_line.pick_device(args), *_test_set(args, first)
    models = {}
    for path, header in zip(args.checkpoints, headers, strict=True):
        name = header["settings"]["attention"]
        name = name if name not in models else f"{name} ({len(models) + 1})"
        models[name], _ = saved.load_model(path, sets.joints, sets.length, device)
    found = draw(
        args.out, models, test.skeletons, f"Attention of AGE on {args.dataset} {args.probe}"
    )
    rows = {
        name: "  ".join(f"{share:.3f}" for share in row["near_target"])
        for name, row in found.items()
    }
    print("share of the attention within one frame of the one that is rebuilt: x, y, z")
    print("\n".join(f"{name:<6}  {row}" for name, row in rows.items()))
    command_line.log.info(f"wrote {args.out}")
    if args.json:
        results.write_json(
            args.json, {"kind": "attention", "dataset": args.dataset, "models": found}
        )


def _test_set(args: argparse.Namespace, header: Mapping) -> tuple:
    """The data of a checkpoint's task, and the test set --probe of it, which is filled in."""
    centred = header["settings"]["centred"]
    if header["task"] == "retrieval":
        args.probe = args.probe or next(iter(datasets.get(args.dataset).gallery_of))
        sets = saved.load_retrieval(args, header["settings"]["batch_size"], centred=centred)
        return sets, sets.probe
    sets = recognisers.load(args, centred)
    recognisers.pick_test(args, sets.tests)
    return sets, sets.tests[args.probe]


def parse_arguments() -> argparse.Namespace:
    parser = command_line.script_parser(__doc__)
    parser.prog = "python -m tools.attention"
    parser.add_argument(
        "checkpoints",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="models of AGE: encoder/best.pt, or any other",
    )
    options.add_data_arguments(parser)
    parser.add_argument(
        "--out",
        type=pictures.picture_file,
        default="alignment.png",
        metavar="FILE",
        help="the picture (%(default)s); the suffix chooses the format",
    )
    options.add_machine_arguments(parser.add_argument_group("run"))
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main, go_on="run again")
