"""A config's backbone, without TensorFlow: its blocks, their order, and the shapes of what they give."""
