"""EasyRec's pipeline.config: reading, editing, expanding, checking and writing it."""

from hvdrec.config.config import Config
from hvdrec.config.reader import load
from hvdrec.config.writer import save

__all__ = ["Config", "load", "save"]
