#!/usr/bin/env bash
# Everything that needs a GPU, from a source tree and without a network, in under six minutes: install, the tests on the
# device, the sanitizers, the times. `scripts/gpu.sh --rehearse` does it with the simulations in the GPU's place, times
# nothing, and takes under three.
#
# Needs Python with loopnest's dependencies, its build's (scikit-build-core, pybind11, cmake, ninja) and pytest; a GPU,
# cuda-bindings with NVRTC, numba-cuda, torch, and the CUDA toolkit's compute-sanitizer. Wheels of what is missing, in the
# folder LOOPNEST_WHEELS, by default wheels/ here, are installed first. Results go to the folder OUT, by default
# loopnest-results/gpu. A step that fails or takes too long does not stop the next ones; the exit status is theirs.
set -uo pipefail
cd "$(dirname "$0")/.."
rehearse=${1:-}
if [[ -n $rehearse && $rehearse != --rehearse ]]; then
  echo "gpu.sh: the argument is $rehearse, expected none, or --rehearse" >&2
  exit 2
fi
out=${OUT:-loopnest-results/gpu}
mkdir -p "$out"
python=$(type -P python3)
wheels=${LOOPNEST_WHEELS:-wheels}
failed=()
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# step NAME SECONDS COMMAND: runs it, with a limit, and prints its time. After SIGTERM it has 20 s to keep what it has.
step() {
  local start=$SECONDS status=0
  printf '\n== %s\n' "$1"
  timeout --signal=TERM --kill-after=20 "$2" "${@:3}" || status=$?
  if ((status)); then failed+=("$1 (status $status)"); fi
  printf '== %s: %d s, status %d\n' "$1" $((SECONDS - start)) "$status"
}

missing() {
  "$python" - "$@" <<'END'
import importlib.metadata, re, sys

lines = re.search(r"^dependencies = \[(.*?)^\]", open("pyproject.toml").read(), re.MULTILINE | re.DOTALL)[1]
absent = []
build = [] if sys.argv[1:] else ["scikit-build-core", "pybind11"]
for name in [*re.findall(r'^  "([\w-]+)', lines, re.MULTILINE), *build, "pytest", "pytest-xdist"]:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        absent.append(name)
numpy = tuple(map(int, importlib.metadata.version("numpy").split(".")[:2])) if "numpy" not in absent else (0, 0)
if numpy >= (2, 5):  # numba-cuda up to 0.30.4 takes np.row_stack
    absent.append("'numpy<2.5'")
if absent:
    version = "{}.{}".format(*sys.version_info)
    sys.exit(
        f"not installed, or too new: {', '.join(absent)}. Where there is a network, get wheels, and bring the folder here:\n"
        f"  pip download --only-binary=:all: --no-deps --python-version {version} --platform manylinux2014_x86_64 "
        f"--platform manylinux_2_28_x86_64 -d wheels {' '.join(absent)}"
    )
END
}
export -f missing
export python

if [[ -d $wheels ]]; then
  step "wheels" 60 "$python" -m pip install -q --no-index --no-deps "$wheels"/*.whl
fi
step "packages" 20 bash -c "missing $rehearse"
if [[ $rehearse ]]; then
  # What pip would do is in CI; here the extension that is in the tree, or installed, is taken.
  step "install" 60 "$python" -c "import loopnest; print(loopnest.__file__)"
  step "tests on the device" 60 "$python" -m pytest -q -n 0 -m device tests/cuda tests/cuda_cpp
else
  nvidia-smi
  step "install" 120 "$python" -m pip install --no-build-isolation --no-deps .
  step "tests on the device" 120 "$python" -m pytest -q -m device --durations=5 tests/cuda tests/cuda_cpp
fi
parts=(memcheck racecheck timing)  # the contract is in the tests
step "sanitizers and times" 240 "$python" -m loopnest bench gpu $rehearse "${parts[@]/#/--only=}" \
  --json "$out/gpu.json" --report "$out/gpu.html"

printf '\n%d s in all; results: %s\n' "$SECONDS" "$out"
for name in "${failed[@]}"; do echo "failed: $name"; done
exit $((${#failed[@]} > 0))
