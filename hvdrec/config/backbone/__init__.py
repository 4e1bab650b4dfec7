"""A config's backbone, without TensorFlow: its blocks, their order, and their output shapes."""
