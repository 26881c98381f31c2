"""The authors' TensorFlow 1 checkpoints: read (bundle) and converted (convert)."""
