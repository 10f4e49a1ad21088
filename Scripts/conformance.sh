#!/usr/bin/env bash
# Checks every operation of Sparrow on three OpenCL implementations, which it installs:
#
#   pocl      PoCL, from the system's packages (pocl-opencl-icd)
#   intel     Intel's CPU runtime, from Python packages in .build-conformance/intel (x86-64 only)
#   oclgrind  Oclgrind, a simulator that reports accesses out of bounds and data races; slow, so
#             small shapes only and no training steps
#
# Usage: Scripts/conformance.sh [--require-all] [--sparrow PATH] [pocl] [intel] [oclgrind]
# (Default: all three.)
#
# An implementation is alone on the loader's list while it is checked, so its device is 0:0, and
# nothing can fall back to another one. Exit status 1 when one fails, or with --require-all when
# one cannot be run; else 0. Whole outputs are kept in .build-conformance/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
. Scripts/packages.sh

sparrow=$root/.build/release/sparrow
probe=$root/.build-setup/opencl-probe
work=$root/.build-conformance
time_limit=3600 # seconds for each implementation

require_all=
wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --require-all) require_all=yes ;;
    --sparrow)
      sparrow=${2:?--sparrow needs a path}
      shift
      ;;
    pocl | intel | oclgrind) wanted+=("$1") ;;
    *) die "unknown argument '$1'; the head of Scripts/conformance.sh says what there is" ;;
  esac
  shift
done
[ ${#wanted[@]} -gt 0 ] || wanted=(pocl intel oclgrind)

[ "$(uname -s)" = Linux ] || die "the three implementations are installed on Linux only"
[ -x "$sparrow" ] || die "$sparrow is not built; run 'make build'"
[ -x "$probe" ] || Scripts/setup.sh || exit 1
mkdir -p "$work"

rows=()
reasons=()
failures=0
skipped=0

# row NAME LAYOUT VERSION VERDICT CASES SECONDS
row() { rows+=("$(printf '%-10s %-7s %-24s %-28s %7s %8s' "$@")"); }

not_run() {
  reasons+=("$1 was not run: $2")
  row "$1" - - "not run, see below" - -
  skipped=$((skipped + 1))
}

# vendors NAME LIBRARY: the loader's list with that one driver; prints the folder.
vendors() {
  mkdir -p "$work/$1-vendors"
  printf '%s\n' "$2" >"$work/$1-vendors/$1.icd"
  printf '%s\n' "$work/$1-vendors"
}

# in_environment NAME COMMAND...: runs the command with that implementation alone in sight, and
# with caches of its own.
in_environment() {
  local name=$1
  shift
  local -a settings=(
    "OCL_ICD_VENDORS=$work/$name-vendors" "POCL_CACHE_DIR=$work/$name-cache/pocl"
    "SPARROW_CACHE_DIR=$work/$name-cache/sparrow")
  if [ "$name" = intel ]; then
    settings+=("LD_LIBRARY_PATH=$work/intel/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")
  fi
  mkdir -p "$work/$name-cache/pocl" "$work/$name-cache/sparrow"
  env -u OCL_ICD_FILENAMES -u SPARROW_DEVICE "${settings[@]}" timeout "$time_limit" "$@"
}

# count_cases FILE: how many cases the JSON object of `sparrow check` reports.
count_cases() {
  python3 - "$1" 2>/dev/null <<'EOF' || echo '?'
import json, sys
report = json.load(open(sys.argv[1]))
cases = next(report[key] for key in ("cases", "results", "checks") if key in report)
print(cases if isinstance(cases, int) else len(cases))
EOF
}

# check NAME COMMAND...: probes the implementation, then runs `sparrow check` under COMMAND (which
# may be empty) and appends a row.
check() {
  local name=$1 version layout
  shift

  # A kernel of three lines first: a runtime that fails this says nothing about Sparrow.
  if ! in_environment "$name" "$@" "$probe" --run >"$work/$name-probe.txt" 2>&1; then
    not_run "$name" "its device fails a kernel of three lines (see .build-conformance/$name-probe.txt)"
    return
  fi
  version=$(grep -m 1 '^0:0' "$work/$name-probe.txt" | cut -f 4)

  # Both layouts of the kernels: whichever the device would not use by default must be right too.
  for layout in cpu gpu; do check_layout "$name" "$layout" "$version" "$@"; done
}

# check_layout NAME LAYOUT VERSION COMMAND...: runs `sparrow check` and appends a row.
check_layout() {
  local name=$1 layout=$2 version=$3 start seconds status verdict
  shift 3
  local -a check=("$sparrow" check --device 0:0 --json --layout "$layout")
  [ "$name" != oclgrind ] || check+=(--quick)

  say "checking $name, $layout layout ($version)"
  local log=$work/oclgrind.log file=$work/$name-$layout
  rm -f "$log"
  start=$SECONDS
  in_environment "$name" "$@" "${check[@]}" >"$file.json" 2>"$file.err"
  status=$?
  seconds=$((SECONDS - start))
  verdict=clean
  if [ $status -eq 124 ]; then
    verdict="FAILED: over $time_limit s"
  elif [ $status -ne 0 ]; then
    verdict="FAILED: exit status $status"
  elif [ "$name" = oclgrind ] && [ ! -e "$log" ]; then
    verdict="FAILED: no log was written"
  elif [ "$name" = oclgrind ] && [ -s "$log" ]; then
    verdict="FAILED: Oclgrind's reports"
  fi
  if [ "$verdict" != clean ]; then
    failures=$((failures + 1))
    say "$name failed. The end of its messages (all: $file.err):"
    tail -n 20 "$file.err"
    if [ -s "$log" ]; then
      say "The start of Oclgrind's reports (all: .build-conformance/oclgrind.log):"
      head -n 40 "$log"
    fi
  fi
  row "$name" "$layout" "$version" "$verdict" "$(count_cases "$file.json")" "$seconds"
}

# install_for NAME PACKAGE...: in a subshell, since what cannot be installed ends the script there,
# while here it is only a row of the table.
install_for() {
  local name=$1
  shift
  say "$name needs $*"
  (install_packages "$@")
}

check_pocl() {
  local icd
  find_icd() { find /etc/OpenCL/vendors -iname '*pocl*.icd' 2>/dev/null | head -n 1; }
  icd=$(find_icd)
  if [ -z "$icd" ]; then
    install_for pocl pocl-opencl-icd || { not_run pocl "pocl-opencl-icd cannot be installed"; return; }
    icd=$(find_icd)
  fi
  vendors pocl "$(cat "$icd")" >/dev/null
  check pocl
}

check_intel() {
  local library=$work/intel/lib/libintelocl.so
  if [ "$(uname -m)" != x86_64 ]; then
    not_run intel "this is $(uname -m), the runtime is for x86-64"
    return
  fi
  if [ ! -e "$library" ]; then
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
      install_for intel python3 python3-venv ||
        { not_run intel "python3-venv cannot be installed"; return; }
    fi
    say "installing Intel's CPU runtime into .build-conformance/intel (0.9 GB)"
    if ! { rm -rf "$work/intel" && python3 -m venv "$work/intel" &&
      "$work/intel/bin/pip" install --quiet --disable-pip-version-check \
        intel-opencl-rt intel-cmplr-lib-rt; } >"$work/intel-install.txt" 2>&1; then
      not_run intel "pip cannot install it (see .build-conformance/intel-install.txt)"
      return
    fi
  fi
  vendors intel "$library" >/dev/null
  check intel
}

check_oclgrind() {
  if ! command -v oclgrind >/dev/null 2>&1; then
    install_for oclgrind oclgrind || { not_run oclgrind "oclgrind cannot be installed"; return; }
  fi
  # `oclgrind` puts its own library before the loader; the empty list is for certainty.
  mkdir -p "$work/oclgrind-vendors"
  check oclgrind oclgrind --data-races --max-errors 100 --log "$work/oclgrind.log"
}

for name in "${wanted[@]}"; do "check_$name"; done

echo
printf '%-10s %-7s %-24s %-28s %7s %8s\n' driver layout version verdict cases seconds
printf '%s\n' "${rows[@]}"
[ $skipped -eq 0 ] || printf '%s\n' "${reasons[@]}"
[ $failures -eq 0 ] || exit 1
[ $skipped -eq 0 ] || [ -z "$require_all" ] || exit 1
exit 0
