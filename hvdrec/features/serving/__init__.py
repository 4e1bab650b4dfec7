"""The feature plan in standard TensorFlow operations, for exported models."""

from hvdrec.features.serving.graph import ServingGraph

__all__ = ["ServingGraph"]
