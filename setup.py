"""Builds what Python can't import directly: the C++ libraries (by CMakeLists.txt) and the proto modules.

`python setup.py build_ext --inplace` writes hvdrec/_native*.so, hvdrec/_ops.so and hvdrec/_kernels.*.so,
`python setup.py build_protos` writes hvdrec/config/protos/*_pb2.py. Everything else about the package is in
pyproject.toml.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PROTOS = "hvdrec/config/protos"
#: The libraries of kernels, one for each kind of processor that they were built for.
KERNELS = "_kernels.*.so"


def find_cmake() -> str:
    """Returns the cmake of this environment, even if that isn't activated, or the machine's."""
    beside_python = Path(sys.executable).parent / "cmake"
    cmake = str(beside_python) if beside_python.exists() else shutil.which("cmake")
    if not cmake:
        raise SystemExit("cmake not found: pip install -r requirements.lock, or run `make build`")
    return cmake


def install(built: Path, target: Path) -> None:
    """Copies to a new file under the old name: a running process keeps the library that it has mapped."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Builds for several Pythons may install the same library at once.
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        shutil.copy2(built, fresh)
        os.replace(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)


def install_kernels(source: Path, target: Path) -> None:
    """Copies the kernels of a folder and removes others, which don't fit the modules of this build."""
    kernels = {path.name: path for path in source.glob(KERNELS)}
    for old in target.glob(KERNELS):
        if old.name not in kernels:
            old.unlink()
    for name, path in kernels.items():
        install(path, target / name)


class CMakeBuild(build_ext):
    """Builds all extensions with CMake; uses HVDREC_CMAKE_ARGS and CMAKE_BUILD_PARALLEL_LEVEL."""

    def run(self) -> None:
        """Builds the kernels for this machine, or for a wheel those for all."""
        # setuptools first builds into build/lib, with `inplace` off.
        self.march = "auto" if self.inplace else "all"
        super().run()

    def copy_extensions_to_source(self) -> None:
        """Copies what was built, and the kernels beside it, into hvdrec/."""
        super().copy_extensions_to_source()
        install_kernels(Path(self.build_lib, "hvdrec"), ROOT / "hvdrec")

    def build_extensions(self) -> None:
        """Configures and builds csrc, then puts each library where setuptools wants it."""
        if os.environ.get("HVDREC_PREBUILT") == "1":
            self.take_prebuilt()
            return
        # One build tree per environment: CMake remembers the Python and the TensorFlow that it was configured
        # for. pip's isolated builds have their TensorFlow elsewhere, under the same Python.
        found = importlib.util.find_spec("tensorflow")
        places = f"{sys.prefix}:{found.origin if found else ''}"
        environment = hashlib.sha256(places.encode()).hexdigest()[:8]
        tree = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}-{environment}"
        output = tree / "out"
        configure = [
            *(find_cmake(), "-S", str(ROOT), "-B", str(tree)),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={output}",
            f"-DHVDREC_MARCH={self.march}",
            *(["-DCMAKE_BUILD_TYPE=Debug"] if self.debug else []),
            *(["-DHVDREC_CUDA=ON"] if os.environ.get("GPU") == "1" else []),
            *shlex.split(os.environ.get("HVDREC_CMAKE_ARGS", "")),
        ]
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(min(os.cpu_count() or 1, 8))
        # With -q, only what CMake and the compiler write to stderr is shown: warnings and errors.
        out = None if self.distribution.verbose else subprocess.DEVNULL
        env = dict(os.environ, MAKEFLAGS="--no-print-directory")
        nvcc = Path(env.get("HOROVOD_CUDA_HOME") or env.get("CUDA_HOME") or "/usr/local/cuda", "bin", "nvcc")
        if nvcc.exists():
            env.setdefault("CUDACXX", str(nvcc))
        for old in output.glob(KERNELS):
            old.unlink()
        for command in (configure, [find_cmake(), "--build", str(tree), "-j", jobs]):
            if subprocess.run(command, stdout=out, env=env).returncode:
                raise SystemExit("csrc did not build: CMake's and the compiler's messages are above")
        for extension in self.extensions:
            target = Path(self.get_ext_fullpath(extension.name)).resolve()
            install(output / target.name, target)
        install_kernels(output, target.parent)

    def take_prebuilt(self) -> None:
        """Uses the libraries already in hvdrec/, with HVDREC_PREBUILT=1, for a wheel with them."""
        for extension in self.extensions:
            target = Path(self.get_ext_fullpath(extension.name)).resolve()
            built = ROOT / self.get_ext_filename(extension.name)
            for path in (built, *(() if any(built.parent.glob(KERNELS)) else [built.with_name(KERNELS)])):
                if not path.exists():
                    missing = path.relative_to(ROOT)
                    raise SystemExit(f"HVDREC_PREBUILT=1, but {missing} is not built: make build")
            if built.parent != target.parent:
                install(built, target)
                install_kernels(built.parent, target.parent)

    def get_ext_filename(self, name: str) -> str:
        """The file of an extension; TensorFlow's ops don't depend on Python, so it isn't in their name."""
        return name.replace(".", os.sep) + ".so" if name.endswith("_ops") else super().get_ext_filename(name)


class BuildProtos(Command):
    """Generates hvdrec/config/protos/*_pb2.py and .pyi with the protoc of grpcio-tools."""

    description = "generate the proto modules"
    user_options: ClassVar[list] = []

    def initialize_options(self) -> None:
        """Nothing to set."""

    def finalize_options(self) -> None:
        """Nothing to check."""

    def run(self) -> None:
        """Runs protoc once over all .proto files."""
        import grpc_tools
        from grpc_tools import protoc

        well_known = Path(grpc_tools.__file__).parent / "_proto"
        sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PROTOS).glob("*.proto"))
        os.chdir(ROOT)
        status = protoc.main(["protoc", "-I.", f"-I{well_known}", "--python_out=.", "--pyi_out=.", *sources])
        if status:
            raise SystemExit("protoc failed: see its message above")


class BuildPy(build_py):
    """Generates the proto modules before the package's files are listed."""

    def run(self) -> None:
        """Generates, then copies as usual."""
        self.run_command("build_protos")
        super().run()


libraries = ["hvdrec._native", *(["hvdrec._ops"] if (ROOT / "csrc" / "tensorflow").is_dir() else [])]
setup(
    ext_modules=[Extension(name, sources=[]) for name in libraries],
    cmdclass={"build_ext": CMakeBuild, "build_protos": BuildProtos, "build_py": BuildPy},
)
