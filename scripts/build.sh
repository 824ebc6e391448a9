#!/usr/bin/env bash
# Build the extension in place for development: python/loopnest/_core*.so, for PYTHONPATH=python.
# Arguments go to cmake, as in: scripts/build.sh -DLOOPNEST_SANITIZE=ON
set -euo pipefail
cd "$(dirname "$0")/.."
build=${LOOPNEST_BUILD_DIR:-build}
cmake -S . -B "$build" -G Ninja -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" -DPython_EXECUTABLE="$(command -v python)" "$@" >/dev/null
cmake --build "$build"
cp --remove-destination "$build"/_core*.so python/loopnest/  # a running Python keeps the old file
