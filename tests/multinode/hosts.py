"""Hosts of a small network on this machine: each with its own network, processes, name, files and sshd.

They are Linux namespaces without names. The kernel removes every link, mount and process of a host with its
first process, and that one ends when its standard input does: with the tests, however they end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import psutil

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
#: The path of a host's own files on that host.
WORK = pathlib.Path("/tmp/work")

_SSHD = "/usr/sbin/sshd"
_TOOLS = ("ip", "unshare", "nsenter", "mount", "ssh", "ssh-keygen", _SSHD)

#: The first process of a host. /etc/ssh, /etc/hosts and /tmp are folders and files of its own.
_BOOT = """
set -e
own=$1 name=$2 root=$3 shared=$4
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
if [ -d ~/.ssh ]; then mount -t tmpfs tmpfs ~/.ssh; fi
mkdir /run/sshd
hostname "${name%%.*}"
mount --bind "$own/ssh" /etc/ssh
mount --bind "$own/hosts" /etc/hosts
case $root in /tmp/*)
  mkdir -p "$own$root"
  mount --bind "$root" "$own$root"
esac
if [ -n "$shared" ]; then mount --bind "$shared" "$own/tmp/work"; fi
mount --rbind "$own/tmp" /tmp
echo up
read -r _
ip link set lo up
ip link set eth0 up
/usr/sbin/sshd
echo ready
while read -r _; do :; done
"""

_SSHD_CONFIG = """
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/client_key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
PidFile none
"""

_SSH_CONFIG = """
Host *
  IdentityFile /etc/ssh/client_key
  StrictHostKeyChecking yes
"""


@dataclasses.dataclass
class Host:
    """One host.

    Attributes:
        name: Its name; its own name for itself is what comes before the first dot.
        address: In the network of the hosts.
        files: Its /tmp, as the tests see it.
        first: Its first process.
        first_id: The number of that process, as the tests see it.
        port: Its link's end at the switch.
    """

    name: str
    address: str
    files: pathlib.Path
    first: subprocess.Popen[str]
    first_id: int
    port: str

    @property
    def work(self) -> pathlib.Path:
        """The folder that the host sees as `WORK`."""
        return self.files / WORK.relative_to("/tmp")

    def command(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs a command in the host's `WORK`, as from a login shell."""
        variables = {
            "PATH": os.defpath + ":/usr/local/bin:/usr/sbin",
            "HOME": os.path.expanduser("~"),
            "LANG": "C.UTF-8",
            **(environment or {}),
        }
        setting = ["env", "-i", "-C", str(WORK), *(f"{name}={value}" for name, value in variables.items())]
        return ["nsenter", "--target", str(self.first_id), "--all", *setting, *command]

    def start(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Starts a command here; its output and errors come in one pipe."""
        return subprocess.Popen(
            self.command(command, environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self, text: str) -> list[psutil.Process]:
        """The host's processes that have `text` in their command line."""
        found = []
        for process in psutil.Process(self.first_id).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if text in shlex.join(process.cmdline()):
                    found.append(process)
        return found

    def power_off(self) -> None:
        """Ends all processes of the host at once."""
        psutil.Process(self.first_id).kill()
        self.first.wait(timeout=60)


class Hosts:
    """Hosts at one switch."""

    def __init__(
        self, folder: pathlib.Path, names: Sequence[str], shared: pathlib.Path | None = None
    ) -> None:
        """Starts them.

        Args:
            folder: For the hosts' files.
            names: Of the hosts; the n-th has the address 10.77.0.n, and all know all.
            shared: The `WORK` of all; without it each has its own.
        """
        self._ends = contextlib.ExitStack()
        self.hosts: dict[str, Host] = {}
        with contextlib.ExitStack() as ends:
            self._switch = ends.enter_context(_first_process(["--net"], "echo up; read -r _", []))
            _in_network(self._switch, "ip link add ports type bridge")
            _in_network(self._switch, "ip link set ports up")
            addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
            _make_files(folder, addresses)
            for name, address in addresses.items():
                started = self._started(folder / name, name, address, shared)
                self.hosts[name] = ends.enter_context(started)
            self._ends = ends.pop_all()

    def __enter__(self) -> dict[str, Host]:
        return self.hosts

    def __exit__(self, *error: object) -> None:
        self._ends.close()

    def unplug(self, host: Host) -> None:
        """Drops all traffic from and to the host; its link stays up, and nothing is notified."""
        _in_network(self._switch, f"ip link set {host.port} nomaster")

    @contextlib.contextmanager
    def _started(
        self, own: pathlib.Path, name: str, address: str, shared: pathlib.Path | None
    ) -> Iterator[Host]:
        kinds = ["--mount", "--uts", "--ipc", "--net", "--pid"]
        with _first_process(kinds, _BOOT, [str(own), name, str(ROOT), str(shared or "")]) as first:
            (child,) = psutil.Process(first.pid).children()
            port = f"port{len(self.hosts) + 1}"
            _in_network(
                self._switch, f"ip link add {port} type veth peer name eth0 netns /proc/{child.pid}/ns/net"
            )
            _in_network(self._switch, f"ip link set {port} master ports up")
            host = Host(name, address, own / "tmp", first, child.pid, port)
            _run([*host.command([]), "ip", "address", "add", f"{address}/24", "dev", "eth0"])
            _answer(first, "go\n", "ready")
            yield host


def missing() -> str | None:
    """Why no hosts can be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces for hosts need root"
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: openssh-server, openssh-client, iproute2)"
    try:
        with _first_process(["--mount", "--net", "--pid"], "echo up; read -r _", []) as first:
            _in_network(first, "ip link add ports type bridge")
    except (subprocess.SubprocessError, OSError, RuntimeError) as error:
        return f"network namespaces can't be made here: {getattr(error, 'stderr', None) or error}"
    return None


@contextlib.contextmanager
def _first_process(
    kinds: Sequence[str], script: str, arguments: Sequence[str]
) -> Iterator[subprocess.Popen[str]]:
    """A shell in separate namespaces, which are removed with it at the end of the block."""
    command = ["unshare", *kinds, "--fork", "--kill-child", "bash", "-c", script, "bash", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, **pipes)
    try:
        _answer(process, "", "up")
        yield process
    finally:
        process.kill()
        process.communicate()


def _answer(process: subprocess.Popen[str], text: str, wanted: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    process.stdin.flush()
    if process.stdout.readline().strip() != wanted:
        raise RuntimeError(f"a host doesn't start: {process.communicate()[1]}")


def _in_network(first: subprocess.Popen[str], command: str) -> None:
    (child,) = psutil.Process(first.pid).children()
    _run(["nsenter", "--target", str(child.pid), "--net", *command.split()])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


def _make_files(folder: pathlib.Path, addresses: Mapping[str, str]) -> None:
    """Each host's /etc/ssh, /etc/hosts and /tmp; all let the same key in, and know the hosts' keys."""
    keys = {name: folder / name / "ssh" / "host_key" for name in addresses}
    for key in (folder / "client_key", *keys.values()):
        key.parent.mkdir(parents=True, exist_ok=True)
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)])
    known = "".join(
        f"{name},{addresses[name]} {key.with_suffix('.pub').read_text()}" for name, key in keys.items()
    )
    lines = "".join(f"{address} {name}\n" for name, address in addresses.items())
    for name in addresses:
        own = folder / name
        (own / "tmp" / "work").mkdir(parents=True)
        (own / "hosts").write_text(f"127.0.0.1 localhost\n{lines}")
        for key in (folder / "client_key", folder / "client_key.pub"):
            shutil.copy(key, own / "ssh")
        (own / "ssh" / "ssh_known_hosts").write_text(known)
        (own / "ssh" / "sshd_config").write_text(_SSHD_CONFIG)
        (own / "ssh" / "ssh_config").write_text(_SSH_CONFIG)


def wait_for(what: str, ready, seconds: float = 180.0) -> None:
    """Waits until `ready()`; fails with `what` after that many seconds."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.1)
