"""From a Model Garden checkpoint to one self-describing model file. TensorFlow is imported here and nowhere else."""
