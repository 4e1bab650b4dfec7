"""The parameters of FM."""

from __future__ import annotations

from hvdrec.config.layers.spec import LayerSpec, Parameter

FM = LayerSpec("FM", "fm", (Parameter("use_variant", bool, default=False),), unread=("l2_regularization",))
