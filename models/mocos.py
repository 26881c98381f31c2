"""MoCos: Motif Guided Graph Transformer with Combinatorial Skeleton Prototype Learning for
Skeleton-Based Person Re-Identification.

Rao, Miao. AAAI 2025. https://arxiv.org/abs/2412.09044
(TensorFlow code: https://github.com/Kali-Hac/MoCos)

The graph transformer of TranSG (models/graph_transformer.py), in which motifs guide five heads:
joints at most one, two, three bones apart, and the limbs as arms and legs see them. Combinatorial
skeleton prototype learning draws random sub-skeletons (some joints) and sub-tracklets (of these,
some frames) to the mean features of their persons, which are known.

B sequences, f frames, J joints, H features, C persons; t_1, t_2 temperatures.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import skeleton as graphs
from skeleton_reid.data.skeleton import Skeleton
from skeleton_reid.models.graph_transformer import (GraphTransformer, SkeletonContrast,
                                                    fill_published, numbered, published_sizes)
from skeleton_reid.models.simmc import masked_mean, prototype_contrast
