#!/usr/bin/env bash
# Fuzzes Sparrow's readers with libFuzzer and the address sanitizer, which the Swift toolchain brings:
#
#   Scripts/fuzz.sh [--executions N] [--seconds S] [--no-build] [TARGET...]
#
# Each target (default: all; `Scripts/fuzz.sh --list`) runs N times (default 100000), at most S seconds,
# on inputs made from Tests/FuzzTests/Corpus and from what earlier runs found in .build-fuzz/corpus.
# An input that crashes, that takes more than ten seconds or more memory than its reader states is kept
# in .build-fuzz/crashes. Exit status 1 where there is one. To look at one again:
#
#   SPARROW_FUZZ_TARGET=idx .build-fuzz/release/sparrow-fuzz .build-fuzz/crashes/idx-crash-...
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
swift=${SWIFT:-swift}
work=$PWD/.build-fuzz
fuzzer=$work/release/sparrow-fuzz

die() {
  echo "fuzz.sh: $*" >&2
  exit 64
}

executions=100000
seconds=0
build=yes
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --executions | --seconds)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "$1 needs a number above 0"
      if [ "$1" = --executions ]; then executions=$2; else seconds=$2; fi
      shift
      ;;
    --no-build) build= ;;
    --list) targets=(--list) ;;
    -h | --help)
      sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    -*) die "unknown option '$1'; the head of Scripts/fuzz.sh says what there is" ;;
    *) targets+=("$1") ;;
  esac
  shift
done

if [ -n "$build" ]; then
  # The runtime without a main of its own, since SwiftPM gives the program one.
  # shellcheck disable=SC2086
  resources=$($swift -print-target-info | sed -n 's/.*"runtimeResourcePath" *: *"\(.*\)".*/\1/p')
  runtime=
  for file in "$resources"/clang/lib/linux/libclang_rt.fuzzer_no_main-"$(uname -m)".a \
    "$resources"/../clang/*/lib/linux/libclang_rt.fuzzer_no_main-"$(uname -m)".a; do
    if [ -f "$file" ]; then runtime=$file; fi
  done
  if [ -z "$runtime" ]; then
    echo "fuzz.sh: this Swift toolchain has no libFuzzer for $(uname -m)" >&2
    exit 1
  fi
  coverage=inline-8bit-counters,pc-table,trace-cmp
  # shellcheck disable=SC2086
  SPARROW_FUZZ=1 $swift build -c release --product sparrow-fuzz --scratch-path "$work" \
    --sanitize address -Xswiftc -sanitize-coverage=edge,$coverage \
    -Xcc -fsanitize-coverage=$coverage -Xlinker "$runtime" -Xlinker -lstdc++ || exit 1
fi
[ -x "$fuzzer" ] || die "$fuzzer is not built"

# Nothing is remembered for long, so that memory in use is what readers take; leaks are told by
# `make test-sanitized`. A crash is told in full when its input is run again.
export SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS=quarantine_size_mb=8:detect_leaks=0:symbolize=0:allocator_may_return_null=0
table=$(SPARROW_FUZZ_TARGET=list "$fuzzer") || exit 1
if [ "${targets[0]:-}" = --list ]; then
  cut -d ' ' -f 1 <<<"$table"
  exit 0
fi
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cut -d ' ' -f 1 <<<"$table")

# dictionary TARGET
dictionary() {
  case $1 in
    autoencoder | pretrained | segmenter | records) echo json ;;
    safetensors | models | checkpoints) echo safetensors ;;
    png | jpeg | tiff | exif) echo image ;;
    gzip) echo idx ;;
    *) echo "$1" ;;
  esac
}

mkdir -p "$work/crashes" "$work/logs"
status=0
total=0
own=0
format='%-12s %12s %9s %9s %8s %9s %8s\n'
# shellcheck disable=SC2059
header=$(printf "$format" target executions coverage features seconds exec/s crashes)
rows=
for target in "${targets[@]}"; do
  read -r _ length kind bound <<<"$(grep "^$target " <<<"$table")"
  [ -n "${bound:-}" ] || die "no target '$target'; there is: $(cut -d ' ' -f 1 <<<"$table" | xargs)"
  corpus=$work/corpus/$target
  mkdir -p "$corpus"
  seeds=("Tests/FuzzTests/Corpus/$target")
  if [ "$target" = tiff ]; then seeds+=(Tests/ImagingTests/Fixtures); fi
  log=$work/logs/$target.log
  before=$(find "$work/crashes" -name "$target-*" | wc -l)
  start=$(date +%s)
  SPARROW_FUZZ_TARGET=$target "$fuzzer" "-runs=$executions" "-max_total_time=$seconds" \
    "-max_len=$length" -timeout=10 "-malloc_limit_mb=$bound" "-rss_limit_mb=$((bound + 1024))" \
    "-dict=Tests/FuzzTests/Dictionaries/$(dictionary "$target").dict" -use_value_profile=0 \
    "-artifact_prefix=$work/crashes/$target-" -print_final_stats=1 -reload=0 \
    "$corpus" "${seeds[@]}" >"$log" 2>&1
  result=$?
  elapsed=$(($(date +%s) - start))
  crashes=$(($(find "$work/crashes" -name "$target-*" | wc -l) - before))
  # A fuzzer that ends otherwise than by its count is a crash, whether it left an input or not.
  if [ $result -ne 0 ] && [ $crashes -eq 0 ]; then crashes=1; fi
  done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  # After a crash there are no statistics: the last status line says how far it came.
  if [ -z "$done" ]; then done=$(sed -n 's/^#\([0-9]*\).*/\1/p' "$log" | tail -n 1); fi
  done=${done:-0}
  edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
  features=$(sed -n 's/.* ft: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
  # shellcheck disable=SC2059
  row=$(printf "$format" "$target" "$done" "${edges:--}" "${features:--}" "$elapsed" \
    "$((done / (elapsed > 0 ? elapsed : 1)))" "$crashes")
  rows+=$row$'\n'
  echo "$row" >&2
  total=$((total + done))
  if [ "$kind" = own ]; then own=$((own + done)); fi
  if [ "$crashes" -gt 0 ]; then
    status=1
    grep -m 1 -E 'BROKEN|ERROR|Fatal error|SUMMARY' "$log" >&2
  fi
done
printf '\n%s\n%s' "$header" "$rows"
echo "$total executions, $own of them of our own parsers"
if [ $status -ne 0 ]; then
  echo "Inputs that crash are in .build-fuzz/crashes, what was said of them in .build-fuzz/logs" >&2
fi
exit $status
