#!/usr/bin/env bash
# Run the tests on an extension built with AddressSanitizer and UndefinedBehaviorSanitizer.
# Arguments go to pytest; `scripts/sanitize.sh build` builds and runs no test. LOOPNEST_BUILD_DIR keeps the build.
# `scripts/sanitize.sh threads` is another test: ThreadSanitizer on the pool and the parallel rungs, without Python.
# Needs the test extra, pybind11, cmake and ninja, and a GCC with its sanitizer libraries; threads needs only the GCC.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

if [[ ${1:-} == threads ]]; then
  # -O1: in twenty seconds, and the same loads and stores between threads as -O3.
  ${CXX:-g++} -std=c++20 -O1 -fexpensive-optimizations -fno-math-errno -fno-trapping-math -g -fsanitize=thread -pthread \
    -Wall -Wextra -Werror -Icsrc tests/cpp/threads_test.cpp csrc/runtime/*.cpp -o "$copy/threads_test"
  # Without random addresses, whose mappings older sanitizers refuse where the kernel draws many bits.
  plain=$(setarch -R true 2>/dev/null && echo "setarch -R" || true)
  $plain "$copy/threads_test"
  exit
fi
build=${LOOPNEST_BUILD_DIR:-$copy/build}

# The kernels of the level that the tests run: each level's take a compiler minutes. The others are the wheel's objects.
levels=""
if [[ $(uname -m) == x86_64 ]]; then
  levels=v1
  if grep -qw avx2 /proc/cpuinfo; then levels=v3; fi
  if grep -qw avx512vl /proc/cpuinfo; then levels=v4; fi
fi
if [[ ! -f $build/build.ninja ]]; then
  cmake -S . -B "$build" -G Ninja -DLOOPNEST_SANITIZE=ON -DLOOPNEST_SANITIZED_LEVELS="$levels" -DLOOPNEST_WARNINGS=ON \
    -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" -DPython_EXECUTABLE="$(command -v python)" >/dev/null
fi
cmake --build "$build"
if [[ ${1:-} == build ]]; then exit; fi

# A copy of the package, so that neither the installed extension nor the working tree's is touched.
cp -r python/loopnest "$copy/loopnest"
rm -f "$copy"/loopnest/_core*.so
cp -r csrc benchmarks "$copy/loopnest/"
cp "$build"/_core*.so "$copy/loopnest/"

# Python itself is not instrumented: the runtime must be loaded before it, and CPython's own leaks are not ours.
compiler=${CXX:-g++}
export LD_PRELOAD="$($compiler -print-file-name=libasan.so) $($compiler -print-file-name=libubsan.so) $($compiler -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONPATH="$copy" LOOPNEST_SANITIZED=1
python -m pytest -q -p no:cacheprovider "$@"
