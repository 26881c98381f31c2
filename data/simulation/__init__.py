"""Simulated walkers: a gait model and a skeleton tracker. Nothing else needs it to be
understood.
"""
