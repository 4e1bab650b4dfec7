"""Keras layers that are plain functions of their inputs."""
