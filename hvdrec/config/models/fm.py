"""FM in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.spec import ModelSpec


class FMSpec(ModelSpec):
    """Groups ``wide`` and ``deep``."""

    name = "FM"
    block = "fm"
    needs = {"wide": True, "deep": False}
    order = ("wide", "deep")
    ignored = {"FM.use_variant": "has no effect, as in EasyRec"}

    def wide_width(self, model: Any) -> int:
        """One column per class."""
        return int(model.num_class)

    def check(self, check: ModelCheck) -> None:
        """Warns if the features of the second-order part have several widths."""
        check.tell_padding("deep")
