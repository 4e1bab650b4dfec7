"""Adam of DeepRec's asynchronous parameter servers."""

from __future__ import annotations

from hvdrec.config.protos import optimizer_pb2
from hvdrec.optim.lazy_adam import LazyAdam
from hvdrec.optim.schedules.registry import build_schedule


class AdamAsync(LazyAdam):
    """Adam by the formula of DeepRec's `AdamAsyncOptimizer`, in docs_en/AdamAsync-Optimizer.md there.

    After t - 1 updates, the next one is::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        variable -= rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + 1e-8)

    It changes only the rows that have a gradient. In DeepRec each variable has its own powers of the betas,
    so that servers needn't agree on them; in synchronous steps all of them are equal, and are stored once.
    """


def build(config: optimizer_pb2.AdamAsyncOptimizer) -> AdamAsync:
    """Builds it from `adam_async_optimizer`."""
    return AdamAsync(build_schedule(config.learning_rate), config.beta1, config.beta2, name="AdamAsync")
