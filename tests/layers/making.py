"""Builds layers from their parameters, for tests of their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.config.layers.registry import SPECS
from hvdrec.config.layers.shapes import Widths
from hvdrec.config.protos import keras_layer_pb2
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.registry import build_layer
from hvdrec.layers.variables import VariableStore


class Made:
    """A layer, its variables and what it computes.

    Attributes:
        store: Made the variables.
        layer: The layer.
    """

    def __init__(self, class_name: str, inputs: Widths, l2: float = 0.0, **values: Any) -> None:
        """Builds it as ``backbone/block`` from parameters given as `st_params`."""
        message = keras_layer_pb2.KerasLayer(class_name=class_name)
        message.st_params.update(values)
        config, problems = SPECS[class_name].read(message)
        assert not problems, problems
        self.store = VariableStore(seed=3)
        self.layer: Layer = build_layer(
            class_name, LayerBuild(self.store, "backbone/block", config, inputs, l2)
        )
        assert self.layer.outputs == SPECS[class_name].outputs(config, inputs)

    @property
    def names(self) -> list[str]:
        """The variables' names, below ``backbone/block`` where they are."""
        return sorted(name.removeprefix("backbone/block/") for name in self.store.variables_by_name)

    def value(self, name: str) -> np.ndarray:
        """A variable's value, float64."""
        variables = self.store.variables_by_name
        return variables.get(f"backbone/block/{name}", variables.get(name)).numpy().astype(np.float64)

    def shake(self, seed: int = 11) -> None:
        """Moves every variable at random, so that zeros and ones show."""
        generator = np.random.default_rng(seed)
        for name, variable in self.store.variables_by_name.items():
            noise = generator.normal(0.0, 0.3, variable.shape)
            variable.assign(variable + (np.abs(noise) if "variance" in name else noise))

    def eval(self, inputs: Any) -> Any:
        """Its output in evaluation."""
        return self.layer(_tensors(inputs), ForwardContext(training=False))

    def train(self, inputs: Any, seed: int = 5) -> tuple[Any, ForwardContext]:
        """Its output in training, and the pass."""
        run = ForwardContext(training=True, seed=tf.constant([seed, 7]))
        return self.layer(_tensors(inputs), run), run

    def dense(self, name: str, x: np.ndarray, bias: bool = True) -> np.ndarray:
        """A dense layer of its variables, float64."""
        out = x @ self.value(f"{name}/kernel")
        return out + self.value(f"{name}/bias") if bias else out

    def layer_norm(self, name: str, x: np.ndarray, epsilon: float = 1e-3) -> np.ndarray:
        """A layer norm of its variables, float64."""
        spread = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return spread * self.value(f"{name}/gamma") + self.value(f"{name}/beta")

    def batch_norm(self, name: str, x: np.ndarray, training: bool = False) -> np.ndarray:
        """A batch norm of its variables, float64."""
        mean = x.mean(0) if training else self.value(f"{name}/moving_mean")
        variance = x.var(0) if training else self.value(f"{name}/moving_variance")
        spread = (x - mean) / np.sqrt(variance + 1e-3)
        return spread * self.value(f"{name}/gamma") + self.value(f"{name}/beta")


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Normal numbers, float32 held as float64."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(np.float64)


def near(found: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Compares a layer's output with the reference, including lists."""
    if isinstance(expected, list):
        assert isinstance(found, list)
        for f, e in zip(found, expected, strict=True):
            near(f, e, rtol, atol)
        return
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def _tensors(inputs: Any) -> Any:
    if isinstance(inputs, list):
        return [_tensors(each) for each in inputs]
    if isinstance(inputs, np.ndarray) and inputs.dtype == np.float64:
        return tf.constant(inputs, tf.float32)
    return None if inputs is None else tf.constant(inputs)
