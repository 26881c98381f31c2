"""The raw formats, one file each, and what becomes of their recordings."""
