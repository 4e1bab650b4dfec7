"""hvdrec: a Horovod-based trainer for recommendation models."""

__version__ = "0.1.0"
