"""Data sets. Begin with `datasets`, the table, and `loader`, what training reads; preprocessing is
`prepare`, from `raw.formats`. Nothing else needs `simulate` to be understood.
"""

from data.datasets import DATASETS, Dataset
from data.files import Sequences, read_split
from data.loader import DataWarning, Recognition, Retrieval, load, load_recognition

__all__ = [
    "DATASETS",
    "DataWarning",
    "Dataset",
    "Recognition",
    "Retrieval",
    "Sequences",
    "load",
    "load_recognition",
    "read_split",
]
