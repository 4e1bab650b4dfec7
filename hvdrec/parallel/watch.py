"""Notices that a process on another host is gone, while this one waits for it in a collective.

A lost host leaves its connections silent, not closed: MPI waits for ever then, and so may `mpirun`, or exit
with 0. So every process keeps one idle TCP connection to rank 0, which the kernels at both ends probe
(keepalive) however busy the processes are.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil

from hvdrec.errors import UserError
from hvdrec.parallel import keeper, launcher_process

logger = logging.getLogger(__name__)

#: Seconds without an answer after which a host counts as lost.
SECONDS = "HVDREC_LOST_AFTER_SECONDS"
_SECONDS = 30
_PROBES = 3
#: A process that hears of a loss otherwise, or was about to end, has these seconds to do so.
_GRACE = 3.0
_CONNECT_SECONDS = 5.0
_BYE = b"bye\n"


class PeerWatch:
    """Ends this process with a message once one of those it is linked with is gone."""

    def __init__(
        self, links: Mapping[socket.socket, str], fail: Callable[[str], None], grace: float = _GRACE
    ) -> None:
        """Watches in a thread of its own until `close`.

        Args:
            links: Connections, each with what to call the process at its other end.
            fail: Called once, `grace` seconds after a loss, unless `close` comes before.
            grace: Seconds.
        """
        self._links = dict(links)
        self._fail, self._grace = fail, grace
        self._closed = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="hvdrec-peers", daemon=True)
        self._thread.start()
        # A process that ends by an error has said so itself.
        atexit.register(self.close)

    def close(self) -> None:
        """Says good-bye: that this process is gone is no loss any more."""
        if self._closed.is_set():
            return
        self._closed.set()
        atexit.unregister(self.close)
        self._wake.close()
        self._tell(_BYE)
        # It may be waiting for the launcher.
        self._thread.join(timeout=_GRACE)
        for link in (*self._links, self._woken):
            link.close()

    def _tell(self, line: bytes) -> None:
        for link in self._links:
            with contextlib.suppress(OSError):
                link.send(line, socket.MSG_DONTWAIT)

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            for link in (*self._links, self._woken):
                selector.register(link, selectors.EVENT_READ)
            lost: str | None = None
            while lost is None:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        return
                    assert isinstance(key.fileobj, socket.socket)
                    said, why = _listen(key.fileobj)
                    if why is None and said == _BYE:
                        selector.unregister(key.fileobj)
                        continue
                    lost = lost or why or said.removesuffix(_BYE).decode("utf-8", "replace").strip()
                    lost = lost.replace("%", self._links[key.fileobj])
        self._tell(f"{lost}\n".encode())
        if not self._closed.wait(self._grace):
            self._fail(lost)


def _listen(link: socket.socket) -> tuple[bytes, str | None]:
    """What came from a process, or what is wrong with it."""
    try:
        said = link.recv(4096)
    except ConnectionError:
        return b"", "% ended without a word (killed, or out of memory)"
    except OSError as error:
        return b"", f"% does not answer any more ({error.strerror}): its host or the network is lost"
    return said, None if said else "% ended without a word (killed, or out of memory)"


def end_process(lost: str, patience: float) -> None:
    """Ends this process: its main thread may never come back from a collective.

    Args:
        lost: What has happened.
        patience: Seconds that `mpirun` gets to end the job. It can tell that a host is lost, and does so with
            an exit code, as long as it isn't waiting for the lost host to confirm the end of a rank.
    """
    print(
        f"hvdrec: error: {lost}; the run can go on from its last checkpoint (--continue_train)",
        file=sys.stderr,
        flush=True,
    )
    launcher_process.let_go()
    keeper.tell(keeper.LOST)
    if "OMPI_COMM_WORLD_SIZE" in os.environ:
        time.sleep(patience)
    os._exit(1)


def watch_peers(
    rank: int, gather: Callable[[Any], list[Any]], fail: Callable[[str, float], None] = end_process
) -> PeerWatch:
    """Links this process with rank 0, or rank 0 with all (collective).

    Args:
        rank: This process.
        gather: Gives every process's value to all, in the order of ranks.
        fail: Called once with what is lost, and the seconds that a launcher should be given.

    Raises:
        UserError: HVDREC_LOST_AFTER_SECONDS is no number of seconds.
    """
    links, seconds = _be_joined(gather) if rank == 0 else _join(rank, gather)
    for link in links:
        _keep_alive(link, seconds)
    return PeerWatch(links, lambda lost: fail(lost, 2.0 * seconds))


def _be_joined(gather: Callable[[Any], list[Any]]) -> tuple[dict[socket.socket, str], int]:
    """Rank 0's links with all others, and the seconds that any of them may be silent (collective)."""
    host, seconds, addresses = socket.gethostname(), _lost_after(), _addresses()
    token = secrets.token_hex(16)
    links: dict[str, socket.socket] = {}
    with _listener() as listener:
        accepting = threading.Thread(target=_accept, args=(listener, token, links), daemon=True)
        accepting.start()
        gather((host, seconds, listener.getsockname()[1], addresses, token))
        unlinked = [name for name in gather(None) if name is not None]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for name in unlinked:
        # It has given up a connection that was taken too late.
        if name in links:
            links.pop(name).close()
    if unlinked:
        logger.warning(
            "%s can't reach rank 0 on %s (tried %s): if a host is lost, only the launcher will notice",
            *(", ".join(unlinked), host, ", ".join(addresses)),
        )
    return {link: name for name, link in links.items()}, seconds


def _join(rank: int, gather: Callable[[Any], list[Any]]) -> tuple[dict[socket.socket, str], int]:
    """Another rank's link with rank 0, and the seconds that it may be silent (collective)."""
    own = f"rank {rank} on {socket.gethostname()}"
    # Launchers take few variables to other hosts: rank 0's setting holds.
    root, seconds, port, addresses, token = gather(None)[0]
    link = _connect(port, addresses, token, own)
    gather(None if link else own)
    return ({link: f"rank 0 on {root}"} if link else {}), seconds


def _lost_after() -> int:
    text = os.environ.get(SECONDS, str(_SECONDS))
    if not text.isdigit() or int(text) < _PROBES + 1:
        raise UserError(f"{SECONDS}={text}: must be a number of seconds, {_PROBES + 1} or more")
    return int(text)


def _listener() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    return socket.create_server(("", 0), backlog=1024)


def _addresses() -> list[str]:
    """This host's addresses, those that other hosts can't use left out."""
    kinds = (socket.AF_INET, socket.AF_INET6)
    found = [a.address for each in psutil.net_if_addrs().values() for a in each if a.family in kinds]
    return [a for a in found if not a.startswith(("127.", "169.254.", "fe80:")) and a != "::1"]


def _accept(listener: socket.socket, token: str, links: dict[str, socket.socket]) -> None:
    """Takes connections until the listener is shut down: of who knows the token, and the last of each."""
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        link.settimeout(_CONNECT_SECONDS)
        with contextlib.suppress(OSError):
            said, _, name = link.recv(4096).decode("utf-8", "replace").partition(" ")
            if secrets.compare_digest(said, token):
                link.sendall(_BYE)
                if name in links:
                    links[name].close()
                links[name] = link
                continue
        link.close()


def _connect(port: int, addresses: list[str], token: str, own: str) -> socket.socket | None:
    """A connection to rank 0 by the first of its addresses that leads there."""
    for address in addresses:
        with contextlib.suppress(OSError), contextlib.ExitStack() as ends:
            link = socket.create_connection((address, port), _CONNECT_SECONDS)
            ends.callback(link.close)
            link.sendall(f"{token} {own}".encode())
            if link.recv(len(_BYE)) == _BYE:
                ends.pop_all()
                return link
    return None


def _keep_alive(link: socket.socket, seconds: int) -> None:
    """Lets the kernel notice within so many seconds that the other end doesn't answer."""
    for option, value in _keepalive_options(seconds):
        link.setsockopt(*option, value)
    link.settimeout(None)


def _keepalive_options(seconds: int) -> Iterator[tuple[tuple[int, int], int]]:
    each = max(1, seconds // (_PROBES + 1))
    yield (socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1
    yield (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), seconds - _PROBES * each
    yield (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), each
    yield (socket.IPPROTO_TCP, socket.TCP_KEEPCNT), _PROBES
