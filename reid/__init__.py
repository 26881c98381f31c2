"""Metrics of re-identification (retrieval, recognition) and clustering, and nothing else."""
