"""Recordings of one's own, simulated."""

import skeleton_reid  # noqa: F401 - says which package this Python lacks
