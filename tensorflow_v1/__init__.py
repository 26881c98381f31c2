"""The authors' TensorFlow 1 checkpoints: read (bundle) and made content of this project's own
(convert), which for AGE is in several files (age).
"""
