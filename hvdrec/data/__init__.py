"""From files to blocks of rows: readers, shards, shuffle, prefetch, the packed batch."""

from hvdrec.data.input import ALL_INPUT_TYPES, open_source
from hvdrec.data.loader import Loader, LoaderStats
from hvdrec.data.source import RowSource

__all__ = ["ALL_INPUT_TYPES", "Loader", "LoaderStats", "RowSource", "open_source"]
