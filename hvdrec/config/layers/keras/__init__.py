"""The parameters of Keras's layers that are plain functions of their inputs."""
