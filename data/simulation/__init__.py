"""Simulated walkers: gait model, skeleton tracker, recordings, and the writers of the raw formats.
Nothing else needs it to be understood.
"""
