"""Detects on the chief that a parameter server is gone, even while the chief is waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from hvdrec.parallel.cluster import Answer, ask

_POLL_SECONDS = 1.0
#: A refused connection means a free port; a timeout may mean that the server or the network is busy.
_REFUSALS, _SILENT_SECONDS = 3, 30.0
#: The chief usually learns of a loss from TensorFlow, and ends on its own.
_GRACE_SECONDS = 5.0


class ServerWatch:
    """Probes all servers every second.

    TensorFlow doesn't notify a chief that waits for workers of a lost server.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        fail: Callable[[int], None],
        grace: float = _GRACE_SECONDS,
        poll: float = _POLL_SECONDS,
    ) -> None:
        """Watches in a separate thread until `close`.

        Args:
            addresses: The addresses of the servers, which must be running.
            fail: Called once with a server's index, `grace` seconds after its loss is detected, unless
                `close` is called before.
            grace: Seconds.
            poll: Seconds between probes.
        """
        self._addresses, self._fail, self._grace, self._poll = tuple(addresses), fail, grace, poll
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hvdrec-servers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """From now on servers may end."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._poll):
            for server, address in enumerate(self._addresses):
                if self._lost(address):
                    if not self._closed.wait(self._grace):
                        self._fail(server)
                    return

    def _lost(self, address: str) -> bool:
        """Whether a server fails to respond to repeated probes."""
        refused, since = 0, time.monotonic()
        while (answer := ask(address)) is not Answer.THERE:
            refused = refused + 1 if answer is Answer.REFUSED else 0
            if refused == _REFUSALS or time.monotonic() - since > _SILENT_SECONDS:
                return True
            if self._closed.wait(self._poll):
                break
        return False
