#!/usr/bin/env bash
# Runs tests under the address and the thread sanitizer, each in a build of its own, and a short
# training, evaluation and segmentation under the leak sanitizer:
#
#   Scripts/test-sanitized.sh [address] [thread] [leaks]     (default: all three)
#
# All suites run but those named in `skipped` below. Exit status 1 where a sanitizer reports
# something or a test fails. Outputs are kept in .build-asan and .build-tsan.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
swift=${SWIFT:-swift}
. Scripts/packages.sh

# Too slow under a sanitizer, or not about memory and threads: every call of whole trainings failed
# in turn, the list of all operations at the shapes of training, and the tool's tests, which run the
# tool as processes of their own (`leaks` runs it under the sanitizer).
skipped='CommandLineTests|FaultTests/(training|segmentation|tuning|buildingAndTheCache|selfTest)'
skipped+='|BackendTests.BackendTests|ComparisonTests|PretrainingTests|deviceFollowsTheReference'
skipped+='|twoRunsGiveTheSameBits|DatasetDownloadTests|deliberatelyWrongKernelsAreCaught'

[ $# -gt 0 ] || set -- address thread leaks
export SPARROW_REQUIRE_OPENCL=1 SPARROW_TUNE=off
failures=0

# in_build FOLDER COMMAND...: with caches of that build's own.
in_build() {
  local folder=$1
  shift
  mkdir -p "$folder/cache/pocl" "$folder/cache/sparrow"
  POCL_CACHE_DIR=$folder/cache/pocl SPARROW_CACHE_DIR=$folder/cache/sparrow "$@"
}

# build NAME FOLDER: builds for one sanitizer.
build() {
  # SWIFT may hold a command and its arguments.
  # shellcheck disable=SC2086
  $swift build -c release --build-tests --sanitize="$1" --scratch-path "$2"
}

# run_tests NAME FOLDER: runs the suites and counts the sanitizer's reports.
run_tests() {
  local log=$2/tests.log status reports
  # shellcheck disable=SC2086
  in_build "$2" $swift test -c release --skip-build --disable-xctest --sanitize="$1" \
    --scratch-path "$2" --skip "$skipped" >"$log" 2>&1
  status=$?
  reports=$(grep -c -E '^(==[0-9]+==ERROR|WARNING: ThreadSanitizer|SUMMARY: )' "$log")
  say "$1: $(grep -E 'Test run with' "$log" | tail -n 1)"
  say "$1: exit status $status, $reports lines of reports (whole output: $log)"
  [ "$status" -eq 0 ] && [ "$reports" -eq 0 ] || { failures=1; grep -E -A 30 \
    '^(==[0-9]+==ERROR|WARNING: ThreadSanitizer)|✘' "$log" | head -n 80; }
}

sanitize_address() {
  build address .build-asan || exit
  # Leaks are looked for where the whole process is ours, below. LLVM, in PoCL, gives threads a
  # signal stack of its own, which the sanitizer would unmap as if it were its.
  ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0 run_tests address .build-asan
}

sanitize_thread() {
  build thread .build-tsan || exit
  TSAN_OPTIONS="suppressions=$root/Scripts/tsan.supp" run_tests thread .build-tsan
}

# What is allocated by the tool's own code and unreachable at the end is a leak; what drivers and
# their compilers keep is theirs.
sanitize_leaks() {
  build address .build-asan || exit
  local sparrow=.build-asan/release/sparrow run=.build-asan/run
  rm -rf "$run"
  # Whose an allocation is, is seen only if the stack is walked by its unwinding tables.
  export ASAN_OPTIONS=detect_leaks=1:use_sigaltstack=0:fast_unwind_on_malloc=0
  export LSAN_OPTIONS="suppressions=$root/Scripts/lsan.supp:print_suppressions=1"
  check() {
    local name=$1 status
    shift
    in_build .build-asan "$sparrow" "$@" >"$run-$name.log" 2>&1
    status=$?
    say "leaks: $name: exit status $status$(grep -m 1 'SUMMARY' "$run-$name.log" | sed 's/^/, /')"
    grep -A 8 'Suppressions used' "$run-$name.log" | grep -E '^ +[0-9]'
    [ $status -eq 0 ] || { failures=1; grep -A 12 'leak of' "$run-$name.log" | head -n 60; }
  }
  mkdir -p .build-asan
  check train train --data glyphs:600 --epochs 2 --batch 50 --output "$run/relu"
  check dictionary train --data glyphs:600 --epochs 2 --batch 50 --latents 128 --code topk:8 \
    --output "$run/dictionary"
  check evaluate evaluate --model "$run/dictionary/model.safetensors" --data glyphs:600
  check inspect inspect --model "$run/dictionary/model.safetensors" --data glyphs:600 \
    --output "$run/look"
  check draw segment draw --count 2 --size 128 --seed 1 --output "$run/cells"
  check segment segment train --images "$run/cells/images" --labels "$run/cells/labels" \
    --classes cytoplasm=0,membrane=128,nucleus=255 --preset small --steps 5 --crop 64 \
    --output "$run/segment"
  check predict segment predict --model "$run/segment" --images "$run/cells/images" \
    --output "$run/predicted"
  check reference train --data glyphs:200 --epochs 1 --batch 50 --device reference \
    --output "$run/reference"
}

for part in "$@"; do
  case $part in
    address | thread | leaks) "sanitize_$part" ;;
    *) die "unknown argument '$part'; the head of Scripts/test-sanitized.sh says what there is" ;;
  esac
done
exit $failures
