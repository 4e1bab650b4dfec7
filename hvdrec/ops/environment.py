"""Checks this machine and Python environment for training; each failed check has a remedy.

Nothing heavy is imported here: a child process loads TensorFlow, Horovod and the C++ libraries, so that if
one of them is missing, broken or built for another processor, only the child ends and the failure is
reported.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Sufficient shared memory for Open MPI and Gloo; containers often start with 64 MiB.
ENOUGH_SHARED_MEMORY = 256 << 20
_PACKAGES = ("numpy", "protobuf", "pyarrow", "rich")
_CHILD_SECONDS = 120

# Prints one JSON line per part as soon as it is loaded: after a crash, its line and later ones are missing.
_CHILD = """
import json, sys
sys.path.insert(0, {root!r})
def tell(part, load):
    try:
        facts = load()
    except BaseException as error:
        facts = {{"error": (type(error).__name__ + ": " + str(error)).splitlines()[0]}}
    print(json.dumps({{part: facts}}), flush=True)
def protos():
    from hvdrec.config.protos import pipeline_pb2
    return {{"fields": len(pipeline_pb2.EasyRecConfig.DESCRIPTOR.fields)}}
def native():
    from hvdrec.ops import kernels, native
    return {{"file": native.load_native().__file__, "kernels": kernels.load_kernels()}}
def tensorflow():
    import tensorflow as tf
    return {{"version": tf.__version__, "cuda": tf.test.is_built_with_cuda(),
             "gpus": [gpu.name for gpu in tf.config.list_physical_devices("GPU")]}}
def ops():
    from hvdrec.ops import library
    library.load_ops()
    return {{"file": str(library.PATH)}}
def horovod():
    import horovod, horovod.tensorflow as hvd
    return {{"version": horovod.__version__, "MPI": bool(hvd.mpi_built()), "Gloo": bool(hvd.gloo_built()),
             "NCCL": bool(hvd.nccl_built())}}
for part in (protos, native, tensorflow, ops, horovod):
    tell(part.__name__, part)
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: The checked item.
        found: What was found.
        remedy: What to do; empty if there is no problem.
        needed: Whether training fails without it.
    """

    what: str
    found: str
    remedy: str = ""
    needed: bool = True

    @property
    def fatal(self) -> bool:
        """Whether training can't work until the remedy is applied."""
        return bool(self.remedy) and self.needed


def examine() -> list[Finding]:
    """All findings, in the order to fix them. Takes about as long as importing TensorFlow."""
    with _start_child() as child:
        quick = [finding for check in (_python, _packages, _processor, _shared_memory) for finding in check()]
        launchers = [*_horovodrun(), *_mpirun()]
        parts = _child_report(child)
    return [
        *quick,
        _protos(parts["protos"]),
        _library("C++ library", parts["native"]),
        _tensorflow(parts["tensorflow"]),
        _library("TensorFlow ops", parts["ops"]),
        _horovod(parts["horovod"]),
        *_gpu(parts["tensorflow"], parts["horovod"]),
        *launchers,
    ]


def _start_child() -> subprocess.Popen[str]:
    code = _CHILD.format(root=str(ROOT))
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def _child_report(child: subprocess.Popen[str]) -> dict[str, dict[str, Any]]:
    """The child's report for each part; for parts it didn't reach, the error is how the child ended."""
    try:
        output, _ = child.communicate(timeout=_CHILD_SECONDS)
        code = child.returncode
        end = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except subprocess.TimeoutExpired:
        child.kill()
        output, _ = child.communicate()
        end = f"no response within {_CHILD_SECONDS} s"
    parts: dict[str, dict[str, Any]] = {}
    for line in output.splitlines():
        with contextlib.suppress(ValueError, TypeError):  # what TensorFlow itself prints
            parts.update(json.loads(line))
    for part in ("protos", "native", "tensorflow", "ops", "horovod"):
        if part not in parts:
            parts[part] = {"error": f"loading it failed: {end}"}
            end = "the previous part could not be loaded"
    return parts


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    yield Finding(
        "Python",
        f"{version} in {sys.prefix}",
        "" if fits else "use Python 3.10 to 3.12: make PYTHON=/path/to/python3.11 build",
    )


def _packages() -> Iterator[Finding]:
    locked = _locked_versions()
    missing, other, found = [], [], []
    for name in _PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        found.append(f"{name} {version}")
        if locked.get(name, version) != version:
            other.append(f"{name} {locked[name]}")
    if missing:
        yield Finding("Packages", f"missing: {', '.join(missing)}", "run `make build`, use .venv/bin/python")
    elif other:
        remedy = f"tested with {', '.join(other)}: `make build` installs these"
        yield Finding("Packages", ", ".join(found), remedy, needed=False)
    else:
        yield Finding("Packages", ", ".join(found))


def _locked_versions() -> dict[str, str]:
    """Package -> version in requirements.lock for this Python; empty without the file."""
    versions = {}
    try:
        lines = (ROOT / "requirements.lock").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        pin, _, marker = line.partition(";")
        name, equals, version = pin.strip().partition("==")
        old_python = '< "3.11"' in marker
        if equals and not name.startswith("#") and (not marker or old_python == (sys.version_info < (3, 11))):
            versions[name.lower()] = version
    return versions


def _processor() -> Iterator[Finding]:
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:
        usable = os.cpu_count() or 1
    model, memory = platform.machine(), ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
        total_kib = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {total_kib / (1 << 20):.0f} GiB of memory"
    except (OSError, ValueError, IndexError):
        pass
    yield Finding("CPU", f"{usable} usable cores, {model}{memory}")


def _shared_memory() -> Iterator[Finding]:
    try:
        size = shutil.disk_usage("/dev/shm").free
    except OSError:
        yield Finding(
            "Shared memory", "no /dev/shm", "mount a tmpfs there: ranks on one machine use it", needed=False
        )
        return
    enough = size >= ENOUGH_SHARED_MEMORY
    yield Finding(
        "Shared memory",
        f"/dev/shm has {size / (1 << 20):,.0f} MiB free",
        "" if enough else "ranks on one machine communicate through it: use docker run --shm-size=1g",
        needed=False,
    )


def _protos(facts: dict[str, Any]) -> Finding:
    folder = ROOT / "hvdrec" / "config" / "protos"
    lacking = [path.stem for path in folder.glob("*.proto") if not (folder / f"{path.stem}_pb2.py").exists()]
    if lacking:
        return Finding(
            "Proto modules", f"{len(lacking)} not generated ({lacking[0]}, ...)", "run `make build`"
        )
    if "error" in facts:
        return Finding(
            "Proto modules", facts["error"], "run `make build`; if that doesn't help, `make clean build`"
        )
    # An installed package has all files of one time, in any order.
    sources = folder.glob("*.proto") if (ROOT / "setup.py").exists() else ()
    return Finding("Proto modules", "generated", _stale(sources, folder / "pipeline_pb2.py"), needed=False)


def _library(what: str, facts: dict[str, Any]) -> Finding:
    """A library built from csrc."""
    if "error" in facts:
        remedy = "run `make build`; if that doesn't help, `make clean build`"
        if "SIGILL" in facts["error"]:
            remedy = "built for another processor: run `make clean build` on this machine"
        return Finding(what, facts["error"], remedy)
    sources = (path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".cc", ".h"))
    found = Path(facts["file"]).name
    if "kernels" in facts:
        found += f", kernels for {facts['kernels']}"
    return Finding(what, found, _stale(sources, Path(facts["file"])), needed=False)


def _stale(sources: Iterable[Path], product: Path) -> str:
    """The remedy if a source is newer than its product; else empty."""
    newest = max((path.stat().st_mtime for path in sources), default=0.0)
    return "older than its sources: run `make build`" if newest > product.stat().st_mtime else ""


def _tensorflow(facts: dict[str, Any]) -> Finding:
    if "error" in facts:
        return Finding("TensorFlow", facts["error"], "run `make build`, use .venv/bin/python")
    found = f"{facts['version']}, built {'with' if facts['cuda'] else 'without'} CUDA"
    if not facts["version"].startswith("2.18."):
        return Finding("TensorFlow", found, "tested with 2.18.1 only: `make build` installs it", needed=False)
    return Finding("TensorFlow", found)


def _horovod(facts: dict[str, Any]) -> Finding:
    if "error" in facts:
        return Finding("Horovod", facts["error"], "run `make build`; more than one rank needs it")
    found = ", ".join(f"{name} {'yes' if facts[name] else 'no'}" for name in ("MPI", "Gloo", "NCCL"))
    usable = facts["MPI"] or facts["Gloo"]
    remedy = "" if usable else "built without MPI and Gloo: run `make distclean build`"
    return Finding("Horovod", f"{facts['version']}, built with: {found}", remedy)


def _gpu(tensorflow: dict[str, Any], horovod: dict[str, Any]) -> Iterator[Finding]:
    gpus = tensorflow.get("gpus", [])
    if gpus:
        remedy = "" if horovod.get("NCCL") else "Horovod has no NCCL: run `make GPU=1 build`"
        yield Finding("GPU", f"{len(gpus)} seen by TensorFlow", remedy, needed=False)
    elif shutil.which("nvidia-smi") and _run(["nvidia-smi", "-L"])[0] == 0:
        remedy = "run `make GPU=1 build` to use it, with .venv-gpu/bin/python"
        yield Finding("GPU", "present, but not visible to TensorFlow", remedy, needed=False)
    else:
        yield Finding("GPU", "none: training runs on the CPU")


def _beside_python(name: str) -> str | None:
    """The path of a program in this environment, activated or not, or on the machine."""
    own = Path(sys.executable).parent / name
    return str(own) if own.exists() else shutil.which(name)


def _horovodrun() -> Iterator[Finding]:
    launcher = _beside_python("horovodrun")
    remedy = "" if launcher else "run `make build`; without it only single processes and mpirun work"
    yield Finding("horovodrun", launcher or "not found", remedy)


def _mpirun() -> Iterator[Finding]:
    launcher = _beside_python("mpirun")
    without = "without MPI use `horovodrun --gloo`"
    if not launcher:
        yield Finding("mpirun", "not found", f"run `make build`; {without}", needed=False)
        return
    _, output = _run([launcher, "--version"])
    version = output.splitlines()[0].replace("mpirun (", "").replace(")", "") if output else "unknown version"
    root = ["--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    # The exact options that horovodrun passes: not every Open MPI accepts them.
    command = [
        launcher,
        *root,
        "-np",
        "2",
        "-H",
        "localhost:2",
        "-bind-to",
        "none",
        "-map-by",
        "slot",
        "true",
    ]
    code, _ = _run(command)
    found = f"{version}, {launcher}" + (" (as root it needs --allow-run-as-root)" if root else "")
    if code:
        yield Finding("mpirun", found, f"can't start 2 processes as horovodrun does; {without}", needed=False)
    else:
        yield Finding("mpirun", found)


def _run(command: list[str], seconds: float = 20) -> tuple[int, str]:
    """Exit code and output of a command; 127 if it can't be run, 124 if it takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except OSError as error:
        return 127, str(error)
    except subprocess.TimeoutExpired:
        return 124, ""
    return done.returncode, done.stdout.strip()
