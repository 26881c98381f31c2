"""The authors' TensorFlow 1 checkpoints: read them (tf_checkpoint), tell what they are (kinds),
make them content of this project's own checkpoints (content)."""
