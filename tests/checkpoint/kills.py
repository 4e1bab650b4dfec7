"""Kills a process between two of its system calls."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_EXITKILL_AND_SYSGOOD = 0x00100001
_SYSTEM_CALL = signal.SIGTRAP | 0x80

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}")


def can_trace() -> bool:
    """Whether this machine lets a process trace its children."""
    try:
        return run(lambda: None) >= 0
    except OSError:
        return False


def run(work: Callable[[], object], kill_at: int = -1) -> int:
    """Runs `work` in a forked process.

    Args:
        work: What it does; must not need threads that this process has started.
        kill_at: Send it SIGKILL before its system call of this number, counted from 0.

    Returns:
        The system calls it made, if it came to its end; -1 if it was killed.
    """
    pid = os.fork()
    if pid == 0:
        try:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
        except BaseException:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        raise OSError(1, "ptrace: not allowed here")
    _ptrace(_SETOPTIONS, pid, _EXITKILL_AND_SYSGOOD)
    calls, entering, forward = 0, True, 0
    while True:
        _ptrace(_SYSCALL, pid, forward)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work failed"
            return calls
        assert os.WIFSTOPPED(status), f"ended by signal {os.WTERMSIG(status)}"
        forward = 0
        if os.WSTOPSIG(status) != _SYSTEM_CALL:
            forward = os.WSTOPSIG(status)
            continue
        if entering and calls == kill_at:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -1
        calls += entering
        entering = not entering
