"""The parameters of Keras layers that are plain functions of their inputs."""
