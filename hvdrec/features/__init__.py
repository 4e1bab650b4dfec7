"""The feature plan: how each input column is transformed."""

from hvdrec.features.build import build_plan
from hvdrec.features.packer import Packer

__all__ = ["Packer", "build_plan"]
