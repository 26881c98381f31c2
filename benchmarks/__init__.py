"""Measurements of speed and memory, one file per claim; docs/07-performance.md holds the results.

Nothing here decides whether the code is right, and no test asserts a time: `python -m benchmarks
--help`.
"""

import skeleton_reid  # noqa: F401 - says which package this Python lacks
