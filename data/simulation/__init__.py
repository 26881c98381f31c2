"""The simulator: gait, tracker, recordings, writers. Nothing else needs it to be understood."""
