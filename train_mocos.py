"""Train MoCos (AAAI 2025) with labels and evaluate it by retrieval before every epoch.

    python train_mocos.py --dataset KS20 --probe probe                 the best model is kept
    python train_mocos.py --dataset KS20 --probe probe --resume        after an interruption
    python train_mocos.py --dataset KS20 --probe probe --mode Eval     score the saved best model

Its epochs are TranSG's (train_transg.py), its masks and losses its own (models/mocos.py). A run's
files lie in <out>/MoCos/<dataset>/<probe>/ (docs/02-training.md).
"""

from skeleton_reid.common.errors import run_command
from skeleton_reid.engine.parsing import parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "MoCos"))

from skeleton_reid.engine.runs import run_retrieval
from train_transg import train


def main() -> None:
    run_retrieval("MoCos", parse_training(__doc__, "MoCos"), train)


if __name__ == "__main__":
    run_command(main)
