"""Train MoCos (AAAI 2025) with labels and evaluate it by retrieval before every epoch.

    python train_mocos.py --dataset KS20 --probe probe                 the best model is kept
    python train_mocos.py --dataset KS20 --probe probe --resume        after an interruption
    python train_mocos.py --dataset KS20 --probe probe --mode Eval     score the saved best model

Its epochs are TranSG's (train_transg.py), its masks and losses its own (models/mocos.py).
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("MoCos", __doc__)

import train_transg

train = train_transg.train
