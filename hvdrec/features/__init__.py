"""The feature plan: what each input column becomes."""

from hvdrec.features.build import build_plan
from hvdrec.features.packer import Packer

__all__ = ["Packer", "build_plan"]
