"""The feature plan in stock TensorFlow operations: what an exported model does with its inputs."""

from hvdrec.features.serving.graph import ServingGraph

__all__ = ["ServingGraph"]
