#!/usr/bin/env bash
# Run the C++ tests where their kernels are to run: on this CPU with every ISA level that it has, on an emulated x86-64
# that has SSE2 and nothing newer, on one with AVX2, and, cross-compiled, on an emulated aarch64.
#
# For x86-64 Linux. Needs cmake, ninja and g++, and qemu-user and g++-aarch64-linux-gnu (Debian's names). Builds in
# build/portability, or in LOOPNEST_BUILD_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${LOOPNEST_BUILD_DIR:-build/portability}

for tool in cmake ninja g++ qemu-x86_64 qemu-aarch64 aarch64-linux-gnu-g++; do
  type -P $tool >/dev/null && continue
  echo "$tool is missing; on Debian: apt-get install cmake ninja-build g++ qemu-user g++-aarch64-linux-gnu" >&2
  exit 1
done

compile() {  # directory, further options of cmake
  cmake -S . -B "$build/$1" -G Ninja -DLOOPNEST_PYTHON=OFF -DLOOPNEST_CPP_TESTS=ON -DLOOPNEST_WARNINGS=ON \
    "${@:2}" >/dev/null
  cmake --build "$build/$1"
}

expect() {  # text, command: it succeeds, and its output has the text
  local text=$1 output status=0
  shift
  echo "\$ $*"
  output=$("$@" 2>&1) || status=$?
  grep -v "TCG doesn't support" <<<"$output" || true
  [[ $status -eq ${expected_status:-0} && $output == *"$text"* ]] && return
  echo "exit status $status, expected ${expected_status:-0}; expected in the output: $text" >&2
  exit 1
}

compile x86-64
# The other compiler works while these tests run, which take one processor.
compile aarch64 -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  >"$build/aarch64.log" 2>&1 &
aarch64=$!
test=$build/x86-64/kernels_test
expect "levels: v1 v3 v4; run here: v1" "$test"

# The first x86-64 processor that QEMU has, less SSE3 (pni), which its model has too. That the emulator does refuse what
# is newer is seen from v3's kernels, which must be killed there.
oldest="qemu-x86_64 -cpu Opteron_G1,-pni"
some="env KERNELS_TEST_EVERY=5"  # of the cases, all of which this CPU has run
expect "run here: v1; active: v1" $some $oldest "$test"
for level in v3 v4; do
  expected_status=132 expect "illegal instruction in $level" $oldest "$test" $level
done
expected_status=2 expect "the newest that runs here is 'v1'" env LOOPNEST_ISA=v3 $oldest "$test"

expect "run here: v1 v3; active: v3" $some KERNELS_TEST_MARGIN=64 qemu-x86_64 -cpu Haswell "$test" v3  # see arrays.hpp
expect "run here: v1; active: v1" qemu-x86_64 -cpu Haswell,-abm "$test" levels  # abm is lzcnt

if ! wait $aarch64; then
  cat "$build/aarch64.log" >&2
  exit 1
fi
kernels=$build/aarch64/CMakeFiles/products_neon.dir/csrc/dispatch/rungs.cpp.o
fused=$(aarch64-linux-gnu-objdump -d "$kernels" | grep -c 'fmla.*v[0-9]*\.4s')
echo "the kernels of neon have $fused multiply-adds of four floats"
expect "run here: neon; active: neon" qemu-aarch64 -L /usr/aarch64-linux-gnu "$build/aarch64/kernels_test"
