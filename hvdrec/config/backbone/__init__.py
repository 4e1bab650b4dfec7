"""A config's backbone, without TensorFlow: its blocks and packages, their order, and the shapes of what they give."""
