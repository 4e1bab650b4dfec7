"""Keras's layers that are plain functions of their inputs."""
