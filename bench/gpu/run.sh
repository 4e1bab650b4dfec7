#!/usr/bin/env bash
# Runs everything that needs a GPU, in at most 8 minutes: builds gpu_check for this GPU and runs it, compares the
# losses with PyTorch, runs NVIDIA's checkers, and trains on the GPU if TensorFlow with CUDA is installed.
#
#   EIGEN=/folder/with/Eigen bench/gpu/run.sh RESULTS
#
# Needs nvcc, CMake and g++; EIGEN only if the Python in use has no TensorFlow. Missing tools (PyTorch,
# compute-sanitizer, TensorFlow) are reported and skipped. PYTHON is the Python (python3), BUILD the build folder;
# CHECKED=0, LOSSES=0, COMPILED=0, SANITIZED=0 and JOBS=0 skip steps. JSON and logs go to the folder RESULTS; a
# table is printed last. Exit status: 0 everything that ran passed; 1 something failed; 3 no GPU.
set -uo pipefail
cd "$(dirname "$0")/../.."

results=${1:?usage: bench/gpu/run.sh RESULTS}
python=${PYTHON:-python3}
build=${BUILD:-build/gpu}
mkdir -p "$results" || exit 1
results=$(cd "$results" && pwd)
failed=()

say() { echo "== ${SECONDS}s: $*"; }

# step NAME LIMIT COMMAND...: writes its output to NAME.log.
step() {
  local name=$1 limit=$2
  shift 2
  say "$name"
  timeout --kill-after=10 "$limit" "$@" >"$results/$name.log" 2>&1
  local status=$?
  ((status == 0)) || { failed+=("$name: exit status $status"); tail -5 "$results/$name.log"; }
  return "$status"
}

build_all() {
  local eigen=${EIGEN:-}
  if [[ -z $eigen ]]; then
    eigen=$("$python" -c 'import tensorflow.sysconfig as s; print(s.get_include())' 2>/dev/null) ||
      { echo "no TensorFlow to take Eigen from: set EIGEN"; return 1; }
  fi
  cmake -S . -B "$build" -DHVDREC_MODULES=OFF -DHVDREC_EIGEN="$eigen" -DHVDREC_CUDA=ON \
    -DCMAKE_CUDA_ARCHITECTURES=native &&
    cmake --build "$build" --target gpu_check gpu_losses -j "$(nproc)"
}

# check NAME TOOL ARGUMENTS...: runs gpu_check under a tool. If the time runs out, the finished cases count.
check() {
  local log="$results/sanitize_${1/ /_}.log" status held findings
  timeout --kill-after=5 "${SANITIZER_SECONDS:-90}" compute-sanitizer --tool "$2" --error-exitcode 9 \
    "$build/gpu_check" --runs 1 "${@:3}" >"$log" 2>&1
  status=$?
  held=$(grep -c '"holds": true' "$log")
  findings=$(grep -c '^========= \(Invalid\|Error\|Race\|Uninitialized\|Barrier\|Program\|Leaked\|Warning\)' "$log")
  echo "$1: $held cases hold, $(grep -c '"holds": false' "$log") don't, $findings findings;" \
    "$(if ((status == 124 || status == 137)); then echo "cut short"; else grep 'SUMMARY' "$log"; fi)"
  ((held > 0 && findings == 0 && (status == 0 || status == 124 || status == 137)))
}

# The checkers slow kernels down considerably: few rows, and each tool and form in parallel.
sanitize() {
  local tool form pid pids=() status=0
  for form in pairs cut embeddings; do
    for tool in memcheck initcheck synccheck; do
      check "$tool $form" "$tool" --rows 1000 --only "$form" & pids+=($!)
    done
    check "racecheck $form" racecheck --rows 1000 --from 100 --only "$form" & pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return "$status"
}
export -f build_all check sanitize
export python build results

has() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || { echo "no GPU"; exit 3; }
nvcc --version | tail -2 | head -1
if [[ ! -x $build/gpu_check || ! -e $build/libgpu_losses.so ]]; then
  step build 150 bash -c build_all || exit 1
fi

if [[ ${CHECKED:-1} == 1 ]]; then
  step gpu_check 150 "$build/gpu_check"
  grep -v '^gpu_check:' "$results/gpu_check.log" >"$results/gpu_check.json"
fi
if [[ ${LOSSES:-1} == 1 ]] && ! has torch; then
  say "no PyTorch: the losses are measured beside nothing, and so left out"
elif [[ ${LOSSES:-1} == 1 ]]; then
  step losses 120 "$python" bench/gpu/losses.py --library "$build/libgpu_losses.so" --seconds 80 \
    --contenders hvdrec,pytorch,pytorch_classes,metric_learning --out "$results/losses.json"
  if [[ ${COMPILED:-1} == 1 ]]; then
    step compiled 75 "$python" bench/gpu/losses.py --library "$build/libgpu_losses.so" --seconds 40 \
      --losses logistic,circle,in_batch_softmax --contenders compiled --out "$results/compiled.json"
  fi
fi
if [[ ${SANITIZED:-1} == 1 ]]; then
  if command -v compute-sanitizer >/dev/null; then
    step sanitize 120 bash -c sanitize
  else
    say "no compute-sanitizer: left out"
  fi
fi
if [[ ${JOBS:-1} == 1 ]]; then
  if has tensorflow && has hvdrec; then
    for layout in ml1m criteo; do
      step "job_$layout" 75 "$python" bench/job.py --device gpu --layout "$layout" --steps 650 --variants np1 \
        --out "$results/job_$layout.json"
    done
  else
    say "no TensorFlow: the jobs on the GPU are left out"
  fi
fi

say "done"
"$python" bench/gpu/table.py "$results"
for line in "${failed[@]}"; do echo "FAILED $line"; done
((${#failed[@]} == 0))
