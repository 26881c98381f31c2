"""What the three training scripts and the evaluator share."""
