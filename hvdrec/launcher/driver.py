"""A keeper's requests to Horovod's elastic driver: a place among the ranks, and whether they are to end.

The driver (`horovod.runner.elastic`) answers over HTTP. A request for a place declares that this slot is
ready for the next ranks; the answer comes when every slot is ready or has failed, with the places on the
hosts that are then available. Keepers exchange messages through the same store, which the driver empties
before it assigns places.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping

#: The address of `horovodrun`, and which slot this is.
_ADDRESS, _PORT = "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT"
_HOST, _SLOT = "HOROVOD_HOSTNAME", "HOROVOD_LOCAL_RANK"
#: The numbers in the driver's answer, in this order.
_PLACE = (
    "HOROVOD_RANK",
    "HOROVOD_SIZE",
    "HOROVOD_LOCAL_RANK",
    "HOROVOD_LOCAL_SIZE",
    "HOROVOD_CROSS_RANK",
    "HOROVOD_CROSS_SIZE",
)
_READY = "rank_and_size"
_WORD = "hvdrec/ended"
_SECONDS = 5.0


class DriverGoneError(Exception):
    """The driver doesn't answer."""


class Driver:
    """The driver, from the view of one slot."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Sends no request yet.

        Args:
            environment: The environment that `horovodrun` gave this process.
        """
        self._address, self._port = environment[_ADDRESS], int(environment[_PORT])
        self._key = f"{environment[_HOST]}:{environment[_SLOT]}"
        self.first = {name: environment[name] for name in _PLACE}

    def place(self) -> dict[str, str] | None:
        """Waits for the next ranks; returns this slot's place among them, or None if it has none.

        Raises:
            DriverGoneError: The driver doesn't answer.
        """
        answer = self._ask("GET", f"{_READY}/{self._key}", timeout=None)
        numbers = (answer or b"").decode().split(",")
        if len(numbers) != len(_PLACE):
            raise DriverGoneError(f"it answers {answer!r}")
        # -1: the host was removed from the list, or a process that the driver started on it has failed.
        return None if int(numbers[0]) < 0 else dict(zip(_PLACE, numbers, strict=True))

    def word(self) -> str | None:
        """The reason why the ranks are to end; None while they aren't.

        Raises:
            DriverGoneError: The driver doesn't answer.
        """
        answer = self._ask("GET", _WORD)
        return None if answer is None else answer.decode()

    def leave_word(self, why: str) -> None:
        """Tells the keepers of all slots that these ranks are to end.

        Raises:
            DriverGoneError: The driver doesn't answer.
        """
        self._ask("PUT", _WORD, why.encode())

    def _ask(
        self, method: str, path: str, body: bytes | None = None, timeout: float | None = _SECONDS
    ) -> bytes | None:
        # Not urllib, which would use a configured proxy.
        connection = http.client.HTTPConnection(self._address, self._port, timeout=timeout)
        try:
            connection.request(method, f"/{path}", body)
            answer = connection.getresponse()
            return answer.read() if answer.status == http.HTTPStatus.OK else None
        except (OSError, http.client.HTTPException) as error:
            raise DriverGoneError(str(error) or type(error).__name__) from error
        finally:
            connection.close()
