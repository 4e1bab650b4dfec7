"""Reads a file in a store sequentially, in ranges that are requested ahead."""

from __future__ import annotations

import collections
import io
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from hvdrec.errors import StorageError
from hvdrec.storage.address import is_remote
from hvdrec.storage.filesystems import locate
from hvdrec.storage.ranges import kept_ranges, range_key
from hvdrec.storage.retries import retry

_RANGE_BYTES = 8 << 20
_AHEAD = 3


class RangeReader(io.RawIOBase):
    """One pass over a file; a failed range is requested again, without rereading earlier ones."""

    def __init__(self, path: str, range_bytes: int = _RANGE_BYTES, ahead: int = _AHEAD) -> None:
        """Opens the file; the first ranges are being fetched when this returns.

        Args:
            path: A path in a store (a local path works too).
            range_bytes: The size of one request.
            ahead: The number of concurrent requests.

        Raises:
            FileNotFoundError: The file doesn't exist.
            StorageError: The store refuses or fails.
        """
        super().__init__()
        self._path = path
        self._range_bytes = range_bytes
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._file: Any = retry(path, self._open)
        self._size = int(self._file.size())
        self._identity = retry(path, lambda: _identity(path, self._file))
        self._kept = kept_ranges() if self._identity else None
        # The position of the next read, the position of the buffered bytes, and the pending requests.
        self._wanted = self._at = self._asked = 0
        self._rest = memoryview(b"")
        self._pool = ThreadPoolExecutor(ahead, thread_name_prefix="hvdrec-range")
        self._waiting: collections.deque[Future[memoryview]] = collections.deque()
        for _ in range(ahead):
            self._ask()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """True, but seeking discards what was read ahead."""
        return True

    def tell(self) -> int:
        """The position of the next byte."""
        return self._wanted

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position; nothing is requested before the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._wanted, io.SEEK_END: self._size}[whence]
        self._wanted = min(self._size, max(0, base + offset))
        return self._wanted

    def readinto(self, buffer: Any) -> int:
        """Reads up to as many bytes as fit; 0 at the end.

        Raises:
            StorageError: The store refuses or fails, or the file has changed meanwhile.
        """
        if self._wanted != self._at:
            self._waiting.clear()
            self._rest = memoryview(b"")
            self._at = self._asked = self._wanted
            self._ask()
        if not len(self._rest) and self._waiting:
            self._rest = self._waiting.popleft().result()
            self._ask()
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._at += count
        self._wanted = self._at
        return count

    def close(self) -> None:
        """Cancels pending requests."""
        if not self.closed:
            self._stopped.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._waiting.clear()
        super().close()

    def _open(self) -> Any:
        place = locate(self._path)
        return place.filesystem.open_input_file(place.path)

    def _ask(self) -> None:
        if self._asked < self._size:
            first, self._asked = self._asked, min(self._size, self._asked + self._range_bytes)
            self._waiting.append(self._pool.submit(self._range, first, self._asked - first))

    def _range(self, first: int, count: int) -> memoryview:
        """A range of the file, from this machine's cache or from the store."""
        if self._kept is None:
            return self._fetch(first, count)
        key = range_key(self._path, self._identity, self._size, first, count)
        return self._kept.get(key, count, lambda: self._fetch(first, count), self._stopped)

    def _fetch(self, first: int, count: int) -> memoryview:
        used: list[Any] = []

        def read() -> memoryview:
            file = self._again(used[-1]) if used else self._file
            used.append(file)
            found = memoryview(file.read_at(count, first))
            if len(found) != count:
                raise OSError(f"received {len(found)} of {count} bytes at offset {first}")
            return found

        return retry(self._path, read, self._stopped)

    def _again(self, failed: Any) -> Any:
        """Reopens the file, unless another range has already done so."""
        with self._lock:
            if self._file is failed:
                opened = self._open()
                if (int(opened.size()), _identity(self._path, opened)) != (self._size, self._identity):
                    raise StorageError(f"{self._path}: the file changed while it was read")
                self._file = opened
            return self._file


def _identity(path: str, file: Any) -> str:
    """A version of a file that changes when it is replaced: its tag, else its time; empty if unknown."""
    if not is_remote(path):
        return ""
    tags = {key.lower(): value for key, value in (file.metadata() or {}).items()}
    if tag := tags.get("etag"):
        return str(tag.decode())
    place = locate(path)
    return str(place.filesystem.get_file_info(place.path).mtime_ns or "")
