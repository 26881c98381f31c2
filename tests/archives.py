"""Archives of the tests' data."""

import tarfile
from pathlib import Path


def unpack(archive: Path, folder: Path) -> None:
    """Extract a tar archive; by the filter for data where Python has it (3.11.4 and later)."""
    options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as file:
        file.extractall(folder, **options)
