"""The parameters of each layer that a config can name, without TensorFlow."""
