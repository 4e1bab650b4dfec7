"""Loads the C++ kernels that were compiled for this kind of processor; nothing heavy is imported here.

`hvdrec._native` and `hvdrec/_ops.so` need a library named libhvdrec_kernels.so. All of hvdrec/_kernels.*.so
have this name (their soname), so these two use the one that has been loaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from hvdrec.errors import UserError

FOLDER = Path(__file__).resolve().parents[1]
CPUINFO = Path("/proc/cpuinfo")
#: Kinds of x86-64 processors and their features by Linux's names; each also has those of the previous ones.
FEATURES = {
    "x86-64-v2": ("cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2"),
    "x86-64-v3": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
_VARIABLE = "HVDREC_ISA"
_REBUILD = "rebuild hvdrec on this machine (`make build`)"


@functools.cache
def load_kernels() -> str:
    """Loads the kernels for this processor, and returns their kind, such as ``x86-64-v3``.

    Raises:
        UserError: There are none for this processor, ``HVDREC_ISA`` names others, or they can't be loaded.
    """
    kind = choose(built(), processor_features(), os.environ.get(_VARIABLE, ""))
    try:
        ctypes.CDLL(str(FOLDER / f"_kernels.{kind}.so"))
    except OSError as error:
        raise UserError(f"the C++ kernels can't be loaded ({error}): run `make clean build`") from error
    return kind


def built() -> list[str]:
    """The kinds for which there are kernels."""
    names = (path.name for path in FOLDER.glob("_kernels.*.so"))
    return sorted(name.removeprefix("_kernels.").removesuffix(".so") for name in names)


def processor_features() -> set[str]:
    """The processor's features by Linux's names; empty if it isn't an x86-64 or Linux doesn't say."""
    try:
        with CPUINFO.open() as lines:
            line = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(line.partition(":")[2].split())


def choose(kinds: Iterable[str], features: set[str], wanted: str = "") -> str:
    """The kind whose kernels to load.

    Args:
        kinds: Those that were built. One that isn't in `FEATURES` was requested when hvdrec was built, and is
            preferred.
        features: Of the processor.
        wanted: A kind to use in any case, or empty.

    Raises:
        UserError: The wanted kind was not built, or a kind has features that the processor lacks.
    """
    kinds = list(kinds)
    if not kinds:
        raise UserError("the C++ kernels are not built: run `make build`")
    if wanted:
        if wanted not in kinds:
            raise UserError(f"{_VARIABLE} is {wanted!r}: must be one of those built, {', '.join(kinds)}")
        if missing := _missing(wanted, features):
            raise UserError(f"{_VARIABLE} is {wanted!r}, but this processor lacks {', '.join(missing)}")
        return wanted
    for kind in kinds:
        if kind not in FEATURES:
            return kind
    best_first = [kind for kind in reversed(FEATURES) if kind in kinds]
    for kind in best_first:
        if not _missing(kind, features):
            return kind
    lacking = ", ".join(_missing(best_first[-1], features))
    raise UserError(
        f"the C++ kernels are built for {', '.join(kinds)}, but this processor ({platform.machine()}) lacks "
        f"{lacking}: {_REBUILD}"
    )


def _missing(kind: str, features: set[str]) -> list[str]:
    """The features of a kind that a processor lacks."""
    missing: list[str] = []
    if kind not in FEATURES:
        return missing
    for each, names in FEATURES.items():
        missing += [name for name in names if name not in features]
        if each == kind:
            break
    return missing
