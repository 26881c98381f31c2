"""Metrics of the recognition protocol: each sequence is given a score for every known person."""

from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from skeleton_reid.common.errors import InputError


def evaluate(scores: np.ndarray | Tensor, labels: np.ndarray | Tensor) -> dict[str, Any]:
    """Metrics of scores (N, C), logits, for labels (N,), integers 0 ... C-1:

        rank: {"1": ..., "C": ...}, the share of sequences with their person among the n best; equal
            scores rank in the order of the classes.
        rank1: rank["1"], the accuracy.
        nAUC_roc: area under the micro-averaged ROC curve, over all (sequence, class) scores; what
            AGE's and SM-SGE's tables call nAUC. Equal scores count one half.
        nAUC_cmc: normalised area under the cumulative matching curve, the mean of rank-n over n = 1
            ... C; what older BIWI and IAS papers call nAUC.
        loss: mean softmax cross entropy, in nats.
        confusion: C lists of C counts, row = person, column = the person scored highest.

    Raises InputError where arrays do not fit, scores are not finite or labels none of the classes.
    """
    scores, labels = (torch.as_tensor(a).detach().cpu().numpy() for a in (scores, labels))
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise InputError(f"expected 1 x 2 scores or more (sequence, person), found {scores.shape}")
    if labels.shape != scores.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        found = f"{labels.dtype} {labels.shape}"
        raise InputError(f"expected {len(scores)} whole-number labels, found {found}")
    unknown = np.setdiff1d(labels, np.arange(scores.shape[1]))
    if unknown.size:
        persons = f"the {scores.shape[1]} persons that the scores are for"
        raise InputError(f"labels {unknown[:5].tolist()} are not among {persons}")
    scores, labels = scores.astype(np.float64), labels.astype(np.int64)
    if not np.isfinite(scores).all():
        raise InputError("the scores hold NaN or infinite values")
    N, C = scores.shape
    own = scores[np.arange(N), labels, None]  # (N, 1)
    before = np.arange(C) < labels[:, None]
    ranks = ((scores > own) | ((scores == own) & before)).sum(axis=1)  # 0 = best
    cmc = np.cumsum(np.bincount(ranks, minlength=C)) / N
    top = scores.max(axis=1, keepdims=True)
    loss = np.log(np.exp(scores - top).sum(axis=1)) - (own - top)[:, 0]
    # Of all pairs of scores, for the own and for a wrong person: how many the own one wins.
    area = rankdata(scores)[np.arange(N) * C + labels].sum() - N * (N + 1) / 2
    confusion = np.bincount(labels * C + scores.argmax(axis=1), minlength=C * C).reshape(C, C)
    return {
        "rank": {str(n): float(share) for n, share in enumerate(cmc, start=1)},
        "rank1": float(cmc[0]), "nAUC_roc": float(area / (N * N * (C - 1))),
        "nAUC_cmc": float(cmc.mean()), "loss": float(loss.mean()), "confusion": confusion.tolist()
    }
