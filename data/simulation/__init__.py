"""The simulator: gait, recordings by a tracker, writers. Nothing else needs it to be understood."""
