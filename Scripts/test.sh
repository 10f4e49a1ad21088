#!/usr/bin/env bash
# Builds and runs every test, and says on which device: test.sh SPARROW
# An absent OpenCL device is a failure; absent data too, where the data folder exists.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
sparrow=$1
swift=${SWIFT:-swift}

# Caches of the tests' own: a cache shared with another program can hold what breaks a driver.
# Kept between runs, so that kernels are compiled once.
export POCL_CACHE_DIR=$PWD/.build/test-cache/pocl
export SPARROW_CACHE_DIR=$PWD/.build/test-cache/sparrow
mkdir -p "$POCL_CACHE_DIR" "$SPARROW_CACHE_DIR" || exit 1

export SPARROW_REQUIRE_OPENCL=1
if [ -d ../shared/data ]; then export SPARROW_REQUIRE_DATA=1; fi

# SWIFT may hold a command and its arguments.
# shellcheck disable=SC2086
$swift build -c release --build-tests || exit

# What there is, before the tests; which of it they used, in one line after them.
devices=$("$sparrow" devices)
devices_status=$?
printf '%s\n\n' "$devices"

# Two processes, for two cores: PoCL compiles one kernel at a time in each, which is most of what
# the tests of the operations take, and half of all. The second one's words follow the first's.
# Both only read what was built, so that neither need wait for the other.
run() {
  # shellcheck disable=SC2086
  $swift test -c release --skip-build --disable-xctest --ignore-lock "$@"
}
half='^BackendTests[./]'
operations=$(mktemp) || exit
trap 'rm -f "$operations"' EXIT
run --filter "$half" >"$operations" 2>&1 &
run --skip "$half"
status=$?
wait $! || status=$?
cat "$operations"

if [ $devices_status -ne 0 ]; then
  echo "'sparrow devices' failed with status $devices_status" >&2
  [ $status -ne 0 ] || status=1
fi
device=$(grep -i -m 1 default <<<"$devices" | sed 's/^[[:space:]]*//')
echo "OpenCL device of these tests: ${device:-$(.build-setup/opencl-probe | head -n 1 | cut -f 2-)}"
exit $status
