"""The program that decodes ORC files; see `hvdrec.data.orc_file`. It imports nothing of this package.

Messages in both directions are a kind and a length, `HEADER`, followed by so many bytes.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from typing import Any, BinaryIO

#: Kind and length of a message.
HEADER = struct.Struct("<BQ")
#: Requests: open a file of some size, decode a stripe; close a file, which has no reply.
OPEN, STRIPE, CLOSE = 1, 2, 3
#: A request for bytes of the file, and these bytes.
RANGE, BYTES = 4, 5
#: Replies.
DONE, FAILED = 6, 7
#: Of `OPEN`: number of the file and size; of `RANGE`: place and size; of a reply to `OPEN`: rows and stripes.
PAIR = struct.Struct("<QQ")


def receive(stream: BinaryIO) -> tuple[int, bytes] | None:
    """Reads a message; None at the end of the stream."""
    head = stream.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    kind, size = HEADER.unpack(head)
    body = stream.read(size)
    return (kind, body) if len(body) == size else None


def send(stream: BinaryIO, kind: int, body: Any) -> None:
    """Writes a message."""
    size = memoryview(body).nbytes
    stream.write(HEADER.pack(kind, size))
    stream.write(body)
    stream.flush()


class _Remote(io.RawIOBase):
    """A file whose bytes the other process reads."""

    def __init__(self, streams: tuple[BinaryIO, BinaryIO], size: int) -> None:
        self._streams, self._size, self._place = streams, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._place)
        size = left if size < 0 else min(size, left)
        if size == 0:
            return b""
        send(self._streams[1], RANGE, PAIR.pack(self._place, size))
        found = receive(self._streams[0])
        if found is None or found[0] != BYTES:
            sys.exit(1)
        self._place += len(found[1])
        return found[1]


def _serve(streams: tuple[BinaryIO, BinaryIO]) -> None:
    import pyarrow as pa
    from pyarrow import orc

    files: dict[int, Any] = {}

    def opened(body: bytes) -> bytes:
        number, size = PAIR.unpack(body)
        file = files[number] = orc.ORCFile(pa.PythonFile(_Remote(streams, size), mode="r"))
        return PAIR.pack(file.nrows, file.nstripes) + file.schema.serialize().to_pybytes()

    def stripe(body: bytes) -> Any:
        wanted = json.loads(body)
        batch = files[wanted["file"]].read_stripe(wanted["stripe"], columns=wanted["columns"])
        batch.validate()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue()

    work = {OPEN: opened, STRIPE: stripe}
    while (message := receive(streams[0])) is not None:
        if message[0] == CLOSE:
            files.pop(json.loads(message[1]), None)
            continue
        try:
            reply = work[message[0]](message[1])
        except Exception as error:
            send(streams[1], FAILED, str(error).encode(errors="replace"))
        else:
            send(streams[1], DONE, reply)


if __name__ == "__main__":
    # The folder of this file, whose modules could hide others.
    sys.path.pop(0)
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve((sys.stdin.buffer, own))
