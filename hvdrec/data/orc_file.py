"""ORC files, decoded in a process of their own.

The library that decodes them trusts lengths within a file, and a damaged file can end the process.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa

from hvdrec.data import orc_decoder
from hvdrec.data.orc_decoder import BYTES, CLOSE, DONE, OPEN, PAIR, RANGE, STRIPE, receive, send


class _Decoder:
    """The process; one request at a time."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, orc_decoder.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            # Signals to the run's processes don't concern it.
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        #: Files that are no longer used.
        self.forgotten = collections.deque[int]()
        self._end = weakref.finalize(self, _end, self._process)

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._end.alive and self._process.poll() is None

    def number(self) -> int:
        """A number for a file."""
        return next(self._numbers)

    def ask(self, kind: int, body: bytes, source: pa.NativeFile | None = None) -> bytes:
        """Sends a request, and returns the reply; meanwhile, reads what it wants of the file.

        Raises:
            ArrowInvalid: The file can't be decoded.
            OSError: Decoding it has ended the process.
        """
        with self._lock:
            try:
                with contextlib.suppress(BrokenPipeError):
                    while self.forgotten:
                        number = json.dumps(self.forgotten.popleft()).encode()
                        send(self._pipe(self._process.stdin), CLOSE, number)
                    send(self._pipe(self._process.stdin), kind, body)
                while True:
                    reply = receive(self._pipe(self._process.stdout))
                    if reply is None:
                        raise OSError(f"decoding it ended the decoder ({_how(self._process)})")
                    if reply[0] != RANGE:
                        break
                    assert source is not None
                    place, size = PAIR.unpack(reply[1])
                    send(self._pipe(self._process.stdin), BYTES, source.read_at(size, place))
            except BaseException:
                # It is in the middle of a request.
                self._end()
                raise
        if reply[0] != DONE:
            raise pa.ArrowInvalid(reply[1].decode())
        return reply[1]

    @staticmethod
    def _pipe(stream: object) -> BinaryIO:
        assert stream is not None
        return stream  # type: ignore[return-value]


def _how(process: subprocess.Popen[bytes]) -> str:
    """How a process ended."""
    code = process.wait()
    if code == -signal.SIGKILL:
        return "it was killed, perhaps because there was no memory left"
    return f"{signal.Signals(-code).name}: the file is damaged" if code < 0 else f"exit status {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()


_shared: list[_Decoder] = []
_starting = threading.Lock()


def _decoder() -> _Decoder:
    """The decoder of this process."""
    with _starting:
        if not _shared or not _shared[0].alive:
            _shared[:] = [_Decoder()]
        return _shared[0]


class OrcFile:
    """An open file.

    Attributes:
        schema: Its columns.
        nrows: Its rows.
        nstripes: Its stripes.
    """

    def __init__(self, source: pa.NativeFile) -> None:
        """Reads the footer.

        Args:
            source: The file, for random access.

        Raises:
            ArrowInvalid: It isn't an ORC file, or is damaged.
            OSError: The same, or it can't be read.
        """
        self._source, self._decoder = source, _decoder()
        self._number = self._decoder.number()
        # Whoever collects this object may be within a request.
        weakref.finalize(self, self._decoder.forgotten.append, self._number)
        reply = self._decoder.ask(OPEN, PAIR.pack(self._number, source.size()), source)
        self.nrows, self.nstripes = PAIR.unpack_from(reply)
        self.schema = pa.ipc.read_schema(pa.py_buffer(reply[PAIR.size :]))

    def read_stripe(self, stripe: int, columns: Sequence[str]) -> pa.RecordBatch:
        """Decodes some columns of a stripe.

        Raises:
            ArrowInvalid: It is damaged.
            OSError: The same, or it can't be read.
        """
        wanted = {"file": self._number, "stripe": stripe, "columns": list(columns)}
        reply = self._decoder.ask(STRIPE, json.dumps(wanted).encode(), self._source)
        return pa.ipc.open_stream(pa.py_buffer(reply)).read_next_batch()
