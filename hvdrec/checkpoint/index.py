"""The index of a TensorFlow V2 checkpoint: where each variable is, and its shape and type.

An index is a table of sorted strings in LevelDB's format (tensorflow/core/lib/io/format.h); the
`BundleEntryProto` of a variable gives its location (tensorflow/core/protobuf/tensor_bundle.proto).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

from hvdrec.ops.native import load_native

#: What `read_index` raises for a file that it can't read.
INDEX_ERRORS = (OSError, struct.error, IndexError, ValueError, DecodeError)

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_MOST_VALUES = 2**60


def impossible(path: Path) -> str | None:
    """The name of a variable with a shape or type that no tensor has; TensorFlow's reader would abort.

    Returns:
        None if there is none, or if this reader can't read the index.
    """
    try:
        entries, _ = read_index(path)
    except INDEX_ERRORS:
        return None
    for name, entry in entries.items():
        sizes = [dimension.size for dimension in entry.shape.dim]
        try:
            tf.as_dtype(entry.dtype)
        except TypeError:
            return name
        if entry.shape.unknown_rank or min(sizes, default=0) < 0 or math.prod(sizes) > _MOST_VALUES:
            return name
    return None


def read_index(path: Path) -> tuple[dict[str, BundleEntryProto], int]:
    """The entries of an index by name, without those of slices, and the number of data files."""
    data = path.read_bytes()
    low, high = struct.unpack("<II", data[-8:])
    if len(data) < _FOOTER or low | high << 32 != _MAGIC:
        raise ValueError("is no index of a checkpoint")
    place = len(data) - _FOOTER
    for _ in range(2):
        _, place = _varint(data, place)
    start, place = _varint(data, place)
    size, _ = _varint(data, place)
    entries, shards = dict[str, BundleEntryProto](), 0
    for _, handle in _records(_block(data, start, size)):
        begin, after = _varint(handle, 0)
        for key, value in _records(_block(data, begin, _varint(handle, after)[0])):
            if not key:
                shards = BundleHeaderProto.FromString(value).num_shards
            elif key[0]:
                entries[key.decode()] = BundleEntryProto.FromString(value)
    return entries, shards


def _block(data: bytes, start: int, size: int) -> bytes:
    block, kind = data[start : start + size], data[start + size]
    (stored,) = struct.unpack_from("<I", data, start + size + 1)
    if kind:
        raise ValueError("is compressed")
    if load_native().masked_crc32c(data[start : start + size + 1]) != stored:
        raise ValueError("fails its checksum")
    return block


def _records(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key is stored without the prefix that it shares with the previous one."""
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        size, place = _varint(block, place)
        key = key[:shared] + block[place : place + own]
        yield key, block[place + own : place + own + size]
        place += own + size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
