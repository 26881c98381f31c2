"""Metrics of recognition from their definitions, in loops."""

import numpy as np


def evaluate(scores, labels):
    """Metrics of scores (N, C) and labels (N,), as of reid.recognition.evaluate; rank: a list."""
    N, C = scores.shape
    wins = pairs = 0
    for n in range(N):
        for m in range(N):
            for c in range(C):
                if c != labels[m]:
                    own, wrong = scores[n, labels[n]], scores[m, c]
                    wins += 1.0 if own > wrong else 0.5 if own == wrong else 0.0
                    pairs += 1
    confusion = [[0] * C for _ in range(C)]
    cmc, loss = [0.0] * C, 0.0
    for row, label in zip(scores, labels, strict=True):
        order = sorted(range(C), key=lambda c, row=row: (-row[c], c))
        confusion[label][order[0]] += 1
        for n in range(order.index(label), C):
            cmc[n] += 1 / N
        loss -= np.log(np.exp(row[label]) / np.exp(row).sum()) / N
    return {
        "rank": cmc, "nAUC_roc": wins / pairs, "nAUC_cmc": sum(cmc) / C, "loss": loss,
        "confusion": confusion
    }
