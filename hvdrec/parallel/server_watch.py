"""Notices on the chief that a parameter server is gone, whatever the chief is waiting for meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from hvdrec.parallel.cluster import Answer, ask

_POLL_SECONDS = 1.0
#: A port that refuses is free; one that is silent may be busy, or the network is.
_REFUSALS, _SILENT_SECONDS = 3, 30.0
#: The chief mostly hears of a loss from TensorFlow, and ends by itself.
_GRACE_SECONDS = 5.0


class ServerWatch:
    """Asks all servers every second.

    TensorFlow doesn't tell a chief that waits for its workers, or for one of them, that a server is lost.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        fail: Callable[[int], None],
        grace: float = _GRACE_SECONDS,
        poll: float = _POLL_SECONDS,
    ) -> None:
        """Watches in a thread of its own until `close`.

        Args:
            addresses: Of the servers, which are there.
            fail: Called once with a server's number, `grace` seconds after it is found lost, unless `close`
                comes before.
            grace: Seconds.
            poll: Seconds between two questions.
        """
        self._addresses, self._fail, self._grace, self._poll = tuple(addresses), fail, grace, poll
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hvdrec-servers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Servers may go from here on."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._poll):
            for server, address in enumerate(self._addresses):
                if self._lost(address):
                    if not self._closed.wait(self._grace):
                        self._fail(server)
                    return

    def _lost(self, address: str) -> bool:
        """Whether a server that is asked again and again doesn't answer."""
        refused, since = 0, time.monotonic()
        while (answer := ask(address)) is not Answer.THERE:
            refused = refused + 1 if answer is Answer.REFUSED else 0
            if refused == _REFUSALS or time.monotonic() - since > _SILENT_SECONDS:
                return True
            if self._closed.wait(self._poll):
                break
        return False
