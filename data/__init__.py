"""Data sets. Begin with `datasets`, the table, and `loader`, what training reads; preprocessing is
`prepare`, from `raw.formats`. Nothing else needs `simulate` to be understood.
"""
# ruff: noqa: F401 - these names are for users of the package

from skeleton_reid.data.datasets import DATASETS, Dataset
from skeleton_reid.data.files import Sequences, read_split
from skeleton_reid.data.loader import DataWarning, Recognition, Retrieval, load, load_recognition
