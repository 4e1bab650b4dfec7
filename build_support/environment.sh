#!/usr/bin/env bash
# Creates the virtual environment, one step at a time: environment.sh VENV python|packages|horovod.
# Called by the Makefile, which keeps the stamps. All output of pip and of compilers goes to VENV/setup.log;
# a step that fails shows the end of the log. PYTHON is the interpreter to use, GPU=1 requests CUDA and NCCL.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=$1 step=$2
readonly log=$venv/setup.log
readonly oldest=10 newest=12 # of Python 3, as in pyproject.toml

fail() {
  printf 'error: %s\n' "$@" >&2
  exit 1
}

# Runs a command with its output in the log; on failure shows the errors in it, and its last lines.
logged() {
  local start output
  printf '\n$ %s\n' "$*" >>"$log"
  start=$(wc -l <"$log")
  if "$@" >>"$log" 2>&1 </dev/null; then return; fi
  output=$(tail -n "+$((start + 1))" "$log" | grep -v 'is ignored: it is neither a file nor a directory' || true)
  { grep -iE -A4 'cmake error|(^|[^-])error:' <<<"$output" || true; } | tail -n 40 >&2
  printf '...\n%s\n' "$(tail -n 10 <<<"$output")" >&2
  fail "this step failed; its whole output is in $log. Mend the cause and run the same make again"
}

supported() {
  "$1" -c "import sys; sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
    if command -v "$candidate" >/dev/null && supported "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail "no Python 3.$oldest to 3.$newest found (TensorFlow 2.18 has no other)" \
    "name one: make PYTHON=/path/to/python3.11 ..."
}

cuda_home() {
  echo "${HOROVOD_CUDA_HOME:-${CUDA_HOME:-/usr/local/cuda}}"
}

# Checks what the package registry can't provide: a compiler, the headers of Python, and CUDA's compiler.
check_tools() {
  command -v "${CXX:-g++}" >/dev/null || fail "no C++ compiler: install g++ (GCC 9 or newer), or set CXX"
  "$1" - <<'PYTHON' || fail "Python.h is missing: install the headers of $1 (Debian and Ubuntu: python3-dev)"
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))
PYTHON
  if [[ ${GPU:-0} == 1 && ! -x $(cuda_home)/bin/nvcc ]]; then
    fail "no CUDA toolkit in $(cuda_home): GPU=1 needs one (12 or newer); set CUDA_HOME"
  fi
}

make_python() {
  local python
  python=$(find_python)
  check_tools "$python"
  echo "[1/5] $("$python" -V) environment in $venv"
  rm -rf "$venv"
  mkdir -p "$venv/stamps"
  if ! "$python" -m venv "$venv" >>"$log" 2>&1; then
    cat "$log" >&2
    fail "$python can't make a virtual environment (Debian and Ubuntu: install python3-venv)"
  fi
}

# Installs the lock file without Horovod, which needs the other packages before it can be compiled.
write_requirements() {
  local tensorflow=tensorflow-cpu
  if [[ ${GPU:-0} == 1 ]]; then tensorflow='tensorflow[and-cuda]'; fi
  sed -e '/^horovod==/d' -e "s/^tensorflow-cpu==/$tensorflow==/" requirements.lock >"$venv/requirements.txt"
}

install_packages() {
  echo "[2/5] packages of requirements.lock (a minute or two)"
  write_requirements
  # The lock file is complete, and tf-keras would add the package tensorflow, which has the files of tensorflow-cpu
  # again, to the same places. Only CUDA's packages aren't in it.
  # Bytecode is stored at the first import (Horovod's check imports TensorFlow), of what is imported alone: pip
  # would compile all files, half a minute on one core, before anything else can start.
  local -a options=(--disable-pip-version-check --no-compile)
  if [[ ${GPU:-0} != 1 ]]; then options+=(--no-deps); fi
  logged "$venv/bin/python" -m pip install "${options[@]}" -r "$venv/requirements.txt"
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  cp build_support/hvdrec_site.py "$site/"
  printf '%s\n' "$PWD" "import hvdrec_site" >"$site/hvdrec.pth"
  # Ranks aren't bound to cores, and there may be more ranks than cores, also under a plain `mpirun -np N`: by
  # default, Open MPI gives each of two ranks a single core, however many there are. `slot` fills one host
  # after the other; without it all ranks would go to the first. A host that no longer responds ends the job:
  # through ssh with an exit code, through keepalive (on the other hosts) without one, so that must come later.
  printf '%s\n' 'rmaps_default_mapping_policy = slot:oversubscribe' 'hwloc_default_binding_policy = none' \
    'plm_ssh_agent = ssh -o ServerAliveInterval=15 -o ServerAliveCountMax=3 : rsh' \
    'oob_tcp_keepalive_time = 90' 'oob_tcp_keepalive_intvl = 15' 'oob_tcp_keepalive_probes = 3' \
    >"$venv/etc/prte-mca-params.conf"
}

# Adds to `options` what Horovod's build needs for GPUs: the machine's CUDA toolkit, and the same NCCL that
# tensorflow[and-cuda] installs and loads, unless HOROVOD_NCCL_HOME names another. It has been compiled and
# loaded (CUDA 13.0), but never run, because no machine with GPUs was available.
add_gpu_options() {
  local cuda nccl
  cuda=$(cuda_home)
  options+=(HOROVOD_GPU=CUDA HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_CUDA_HOME="$cuda" CUDAToolkit_ROOT="$cuda")
  if [[ -n ${HOROVOD_NCCL_HOME:-} ]]; then return; fi
  nccl=$("$venv/bin/python" -c 'import nvidia.nccl; print(next(iter(nvidia.nccl.__path__)))')
  ln -sf libnccl.so.2 "$nccl/lib/libnccl.so" # the linker's name, which the wheel lacks
  options+=(HOROVOD_NCCL_HOME="$nccl" HOROVOD_NCCL_LINK=SHARED LDFLAGS="-Wl,-rpath,$nccl/lib ${LDFLAGS:-}")
}

# Horovod's build takes minutes, so it is repeated only when something that it was compiled against changes.
install_horovod() {
  local built_from=$venv/stamps/horovod-built-from
  local wanted jobs controllers="MPI and Gloo"
  wanted=$(grep -E '^(horovod|tensorflow-cpu|openmpi)==' requirements.lock; echo "GPU=${GPU:-0}")
  if [[ -f $built_from && $(<"$built_from") == "$wanted" ]]; then return; fi
  # A compiler process takes up to 1.5 GB.
  jobs=$(awk -v cpus="$(nproc)" '/MemAvailable/ {n = int($2 / 1.5e6)}
    END {print (n < 1) ? 1 : (n < cpus) ? n : cpus}' /proc/meminfo)
  if [[ ${GPU:-0} == 1 ]]; then controllers="MPI, Gloo and NCCL"; fi
  echo "[3/5] Horovod with $controllers, compiled with $jobs jobs (3 to 6 minutes on 2 cores)"
  local -a options=(HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
    HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1)
  if [[ ${GPU:-0} == 1 ]]; then add_gpu_options; fi
  logged env PATH="$PWD/$venv/bin:$PATH" OPAL_PREFIX="$PWD/$venv" MAKEFLAGS="-j$jobs" "${options[@]}" \
    CMAKE_TOOLCHAIN_FILE="$PWD/build_support/horovod.cmake" \
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-build-isolation --no-deps \
    --no-cache-dir --force-reinstall "$(grep '^horovod==' requirements.lock)"
  logged "$venv/bin/python" -c "import horovod.tensorflow as hvd; assert hvd.mpi_built() and hvd.gloo_built()"
  printf '%s\n' "$wanted" >"$built_from"
}

case $step in
  python) make_python ;;
  packages) install_packages ;;
  horovod) install_horovod ;;
  *) fail "unknown step $step" ;;
esac
