"""Loads the C++ kernels that were compiled for this kind of processor; nothing heavy is imported here.

`hvdrec._native` and `hvdrec/_ops.so` need a library named libhvdrec_kernels.so. All of hvdrec/_kernels.*.so
have this name (their soname), so these two use the one that has been loaded.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
from collections.abc import Mapping, Set
from pathlib import Path

from hvdrec.errors import UserError

FOLDER = Path(__file__).resolve().parents[1]
CPUINFO = Path("/proc/cpuinfo")
#: The text in a library before the features that it needs and ";" (csrc/kernels/base/needs.h).
_NEEDS = b"hvdrec kernels need:"
_VARIABLE = "HVDREC_ISA"
_REBUILD = "rebuild hvdrec on this machine (`make build`)"


@functools.cache
def load_kernels() -> str:
    """Loads the kernels for this processor, and returns their kind, such as ``x86-64-v3``.

    Raises:
        UserError: There are none for this processor, ``HVDREC_ISA`` names others, or they can't be loaded.
    """
    kinds = {kind: needs(kind) for kind in built()}
    features = processor_features()
    if "amx_tile" in features and not _linux_permits_amx():
        features = {feature for feature in features if not feature.startswith("amx_")}
    kind = choose(kinds, features, os.environ.get(_VARIABLE, ""))
    try:
        ctypes.CDLL(str(FOLDER / f"_kernels.{kind}.so"))
    except OSError as error:
        raise UserError(f"the C++ kernels can't be loaded ({error}): run `make clean build`") from error
    return kind


def built() -> list[str]:
    """The kinds for which there are kernels."""
    names = (path.name for path in FOLDER.glob("_kernels.*.so"))
    return sorted(name.removeprefix("_kernels.").removesuffix(".so") for name in names)


def needs(kind: str) -> set[str]:
    """The features of x86-64 that the kernels of a kind need, by Linux's names."""
    with (FOLDER / f"_kernels.{kind}.so").open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return set()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(_NEEDS)
            if start < 0:
                return set()
            start += len(_NEEDS)
            return set(content[start : content.find(b";", start)].decode().split())


def processor_features() -> set[str]:
    """The processor's features by Linux's names; empty if it isn't an x86-64 or Linux doesn't say."""
    try:
        with CPUINFO.open() as lines:
            line = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(line.partition(":")[2].split())


def _linux_permits_amx() -> bool:
    """Asks for AMX's registers, which Linux gives only to processes that do, as the kernels ask again."""
    arch_prctl, request, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0)


def choose(kinds: Mapping[str, Set[str]], features: Set[str], wanted: str = "") -> str:
    """The kind whose kernels to load: of those that the processor runs, the one that needs most.

    Args:
        kinds: The features that each kind needs.
        features: Of the processor.
        wanted: A kind to use in any case, or empty.

    Raises:
        UserError: The wanted kind was not built, or a kind needs features that the processor lacks.
    """
    if not kinds:
        raise UserError("the C++ kernels are not built: run `make build`")
    lacking = {kind: sorted(needed - features) for kind, needed in kinds.items()}
    if wanted:
        if wanted not in kinds:
            raise UserError(f"{_VARIABLE} is {wanted!r}: must be one of those built, {', '.join(kinds)}")
        if missing := lacking[wanted]:
            raise UserError(f"{_VARIABLE} is {wanted!r}, but this processor lacks {', '.join(missing)}")
        return wanted
    runnable = [kind for kind in kinds if not lacking[kind]]
    if runnable:
        return max(runnable, key=lambda kind: len(kinds[kind]))
    least = min(lacking.values(), key=len)
    raise UserError(
        f"the C++ kernels are built for {', '.join(kinds)}, but this processor ({platform.machine()}) lacks "
        f"{', '.join(least)}: {_REBUILD}"
    )
