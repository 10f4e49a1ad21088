#!/usr/bin/env bash
# Checks every operation of Sparrow, and a short training of each network, on several OpenCL
# implementations, which it installs:
#
#   pocl      PoCL, from the system's packages (pocl-opencl-icd)
#   pair      two of PoCL's devices (POCL_DEVICES="pthread basic"), a process on each at once
#   intel     Intel's CPU runtime, from Python packages in .build-conformance/intel (x86-64 only)
#   rusticl   Mesa's rusticl on llvmpipe, from the system's packages (mesa-opencl-icd); compiles
#             slowly, so small shapes only
#   oclgrind  Oclgrind, a simulator that reports accesses out of bounds and data races; slow, so
#             small shapes and the smallest of trainings
#   amd       not run: what a GPU would be given, compiled by Clang and libclc for two generations of
#   nvidia    AMD's and one of NVIDIA's; no function may be missing, and it is told which kernels
#             keep in memory what is meant for registers; --layout and --part do not matter here
#
# Usage: Scripts/conformance.sh [--require-all] [--sparrow PATH] [--layout cpu|gpu]
#                               [--part operations|training] [IMPLEMENTATION...]
# (Default: all of them, both layouts, both parts.)
#
# An implementation is alone on the loader's list while it is checked, so its device is 0:0, and
# nothing can fall back to another one. Rows are added to .build-conformance/table.txt, where whole
# outputs lie as well. Exit status 1 when one fails, or with --require-all when one cannot be run;
# else 0.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
. Scripts/packages.sh

sparrow=$root/.build/release/sparrow
probe=$root/.build-setup/opencl-probe
work=$root/.build-conformance
time_limit=${CONFORMANCE_SECONDS:-3600} # for each command
all=(pocl pair intel rusticl oclgrind amd nvidia)

require_all=
wanted=()
layouts=(cpu gpu)
parts=(operations training)
while [ $# -gt 0 ]; do
  case $1 in
    --require-all) require_all=yes ;;
    --sparrow)
      sparrow=${2:?--sparrow needs a path}
      shift
      ;;
    --layout)
      layouts=("${2:?--layout needs cpu or gpu}")
      shift
      ;;
    --part)
      parts=("${2:?--part needs operations or training}")
      shift
      ;;
    pocl | pair | intel | rusticl | oclgrind | amd | nvidia) wanted+=("$1") ;;
    *) die "unknown argument '$1'; the head of Scripts/conformance.sh says what there is" ;;
  esac
  shift
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${all[@]}")

[ "$(uname -s)" = Linux ] || die "the implementations are installed on Linux only"
[ -x "$sparrow" ] || die "$sparrow is not built; run 'make build'"
[ -x "$probe" ] || Scripts/setup.sh || exit 1
mkdir -p "$work"

rows=()
reasons=()
failures=0
skipped=0

# row NAME WHAT VERSION VERDICT CASES SECONDS
row() {
  local line
  line=$(printf '%-9s %-21s %-24s %-34s %6s %7s' "$@")
  rows+=("$line")
  printf '%s\n' "$line" >>"$work/table.txt"
}

not_run() {
  reasons+=("$1 was not run: $2")
  row "$1" - - "not run, see below" - -
  printf '%s was not run: %s\n' "$1" "$2" >>"$work/table.txt"
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
    "SPARROW_CACHE_DIR=$work/$name-cache/sparrow" "SPARROW_TUNE=off")
  case $name in
    intel) settings+=("LD_LIBRARY_PATH=$work/intel/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}") ;;
    pair*) settings+=("POCL_DEVICES=pthread basic") ;;
    rusticl) settings+=("RUSTICL_ENABLE=llvmpipe") ;;
  esac
  mkdir -p "$work/$name-cache/pocl" "$work/$name-cache/sparrow"
  env -u OCL_ICD_FILENAMES -u SPARROW_DEVICE "${settings[@]}" timeout "$time_limit" "$@"
}

# count_cases FILE: how many cases the JSON object of `sparrow check` reports.
count_cases() {
  python3 - "$1" 2>/dev/null <<'END' || echo '?'
import json, sys
report = json.load(open(sys.argv[1]))
cases = next(report[key] for key in ("cases", "results", "checks") if key in report)
print(cases if isinstance(cases, int) else len(cases))
END
}

# failed_cases FILE: the operations that `sparrow check` found wrong.
failed_cases() {
  python3 - "$1" 2>/dev/null <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
for row in report["results"]:
    if not row["passed"]:
        print("  ", row["operation"], row["shape"], row.get("failure"))
END
}

# verdict STATUS FILE: in a few words, from the exit status and, under Oclgrind, from its log FILE.
verdict() {
  case $1 in
    0) ;;
    124) echo "FAILED: over $time_limit s"; return ;;
    *) [ "$1" -lt 128 ] || { echo "FAILED: signal $(($1 - 128))"; return; }
      echo "FAILED: exit status $1"; return ;;
  esac
  [ -n "$2" ] || { echo clean; return; }
  if [ ! -e "$2" ]; then
    echo "FAILED: no log was written"
  elif [ -s "$2" ]; then
    echo "FAILED: $(grep -c -E '^(Invalid|Read-write|Write-write|Uninit)' "$2") reports of Oclgrind"
  else
    echo clean
  fi
}

# conclude NAME WHAT VERSION VERDICT CASES SECONDS FILE LOG: appends a row, and shows what there is
# to a failure.
conclude() {
  row "${@:1:6}"
  case $4 in clean*) return ;; esac
  failures=$((failures + 1))
  say "$1 failed. The end of its messages (all: $7.err):"
  tail -n 12 "$7.err"
  [ ! -s "$7.json" ] || failed_cases "$7.json" | head -n 20
  if [ -n "$8" ] && [ -s "$8" ]; then
    say "The start of Oclgrind's reports (all: $8):"
    head -n 40 "$8"
  fi
}

# check NAME [COMMAND...]: probes the implementation, then runs the parts under COMMAND.
check() {
  local name=$1 version layout part
  shift
  # A kernel of three lines first: a runtime that fails this says nothing about Sparrow.
  if ! in_environment "$name" "$@" "$probe" --run >"$work/$name-probe.txt" 2>&1; then
    not_run "$name" "its device fails a kernel of three lines (see .build-conformance/$name-probe.txt)"
    return
  fi
  version=$(grep -m 1 '^0:0' "$work/$name-probe.txt" | cut -f 4)
  for part in "${parts[@]}"; do
    if [ "$part" = training ]; then
      train "$name" "$version" "$@"
    else
      # Whichever layout the device would not use by default must be right too.
      for layout in "${layouts[@]}"; do check_layout "$name" 0:0 "$layout" "$version" "$@"; done
    fi
  done
}

# check_layout NAME DEVICE LAYOUT VERSION [COMMAND...]: runs `sparrow check` and appends a row.
check_layout() {
  local name=$1 device=$2 layout=$3 version=$4 start status log=
  shift 4
  local -a check=("$sparrow" check --device "$device" --json --layout "$layout")
  local file=$work/$name-$layout
  case $name in rusticl | oclgrind) check+=(--quick) ;; esac
  if [ "$name" = oclgrind ]; then
    log=$file.log
    rm -f "$log"
    set -- "$@" --log "$log"
  fi
  say "checking $name, $layout layout ($version)"
  start=$SECONDS
  in_environment "$name" "$@" "${check[@]}" >"$file.json" 2>"$file.err"
  status=$?
  conclude "$name" "operations, $layout" "$version" "$(verdict $status "$log")" \
    "$(count_cases "$file.json")" $((SECONDS - start)) "$file" "$log"
}

# train NAME VERSION [COMMAND...]: trains each kind of network for a moment, evaluates and segments.
# What the device computes is compared with the reference's figures.
train() {
  local name=$1 version=$2 start status log= count=600 side=64 steps=4
  shift 2
  local file=$work/$name-training
  rm -rf "$file.run"
  if [ "$name" = oclgrind ]; then
    count=40
    side=32
    steps=1
    log=$file.log
    rm -f "$log"
    set -- "$@" --log "$log"
  fi
  say "training on $name ($version)"
  start=$SECONDS
  in_environment "$name" Scripts/conformance-training.sh "$sparrow" "$file.run" $count $side $steps \
    "$@" >"$file.out" 2>"$file.err"
  status=$?
  conclude "$name" training "$version" "$(verdict $status "$log")" \
    "$(grep -c '^ok ' "$file.out")" $((SECONDS - start)) "$file" "$log"
}

# install_for NAME PACKAGE...: in a subshell, since what cannot be installed ends the script there,
# while here it is only a row of the table.
install_for() {
  local name=$1
  shift
  say "$name needs $*"
  (install_packages "$@")
}

# pocl_library: what PoCL's entry in the loader's list says; installs it where there is none.
pocl_library() {
  local icd
  find_icd() { find /etc/OpenCL/vendors -iname '*pocl*.icd' 2>/dev/null | head -n 1; }
  icd=$(find_icd)
  if [ -z "$icd" ]; then
    install_for pocl pocl-opencl-icd >&2 || return 1
    icd=$(find_icd)
  fi
  cat "$icd"
}

check_pocl() {
  local library
  library=$(pocl_library) || { not_run pocl "pocl-opencl-icd cannot be installed"; return; }
  vendors pocl "$library" >/dev/null
  check pocl
}

# Two devices in sight: each is checked while the other is, by processes that share their caches.
check_pair() {
  local library start status first second
  library=$(pocl_library) || { not_run pair "pocl-opencl-icd cannot be installed"; return; }
  vendors pair "$library" >/dev/null
  if ! in_environment pair "$probe" --run >"$work/pair-probe.txt" 2>&1 ||
    ! grep -q '^0:1' "$work/pair-probe.txt"; then
    not_run pair "PoCL does not show two devices (see .build-conformance/pair-probe.txt)"
    return
  fi
  say "checking two of PoCL's devices at once"
  start=$SECONDS
  for device in 0 1; do
    in_environment pair "$sparrow" check --device 0:$device --json --quick \
      >"$work/pair-$device.json" 2>"$work/pair-$device.err" &
    [ $device = 1 ] || first=$!
    second=$!
  done
  for device in 0 1; do
    if [ $device = 0 ]; then wait "$first"; else wait "$second"; fi
    status=$?
    conclude pair "0:$device, both at once" \
      "$(grep -m 1 "^0:$device" "$work/pair-probe.txt" | cut -f 3 | cut -c 1-24)" \
      "$(verdict $status "")" "$(count_cases "$work/pair-$device.json")" $((SECONDS - start)) \
      "$work/pair-$device" ""
  done
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

check_rusticl() {
  local library
  find_library() { ldconfig -p | awk '$1 == "libRusticlOpenCL.so.1" { print $NF; exit }'; }
  library=$(find_library)
  if [ -z "$library" ]; then
    install_for rusticl mesa-opencl-icd ||
      { not_run rusticl "mesa-opencl-icd cannot be installed"; return; }
    library=$(find_library)
    [ -n "$library" ] || { not_run rusticl "mesa-opencl-icd holds no rusticl here"; return; }
  fi
  vendors rusticl "$library" >/dev/null
  check rusticl
}

check_oclgrind() {
  if ! command -v oclgrind >/dev/null 2>&1; then
    install_for oclgrind oclgrind || { not_run oclgrind "oclgrind cannot be installed"; return; }
  fi
  # `oclgrind` puts its own library before the loader; the empty list is for certainty.
  mkdir -p "$work/oclgrind-vendors"
  # Where a function is inlined whose arguments do not alias, Clang leaves what Oclgrind 21.10 does
  # not know (llvm.experimental.noalias.scope.decl). Programs cached by runs with other options stay
  # what they are.
  rm -rf "$work/oclgrind-cache"
  check oclgrind oclgrind --data-races --max-errors 100 --build-options -fno-inline
}

# clang_for ARCHITECTURE: the newest Clang that compiles for it.
clang_for() {
  local version
  for version in {25..15}; do
    if command -v "clang-$version" >/dev/null 2>&1 &&
      "clang-$version" --print-targets | grep -q "^ *$1 "; then
      echo "clang-$version"
      return
    fi
  done
  return 1
}

# record_programs CLANG: the programs of all operations and of trainings, as a GPU would be given them,
# each once, into .build-conformance/programs.
recorded=
record_programs() {
  [ -z "$recorded" ] || return 0
  local folder=$work/programs library text sum
  library=$(pocl_library) || return 1
  vendors compiled "$library" >/dev/null
  rm -rf "$folder" "$work/compiled-cache" "$work/compiled.run"
  mkdir -p "$folder"
  "$1" -O1 -shared -fPIC -o "$work/opencl-programs.so" Scripts/opencl-programs.c -ldl || return 1
  say "recording what a GPU would be given"
  local -a recorder=(env "OPENCL_PROGRAMS=$folder" "LD_PRELOAD=$work/opencl-programs.so")
  in_environment compiled "${recorder[@]}" "$sparrow" check --device 0:0 --json \
    >"$work/compiled.json" 2>"$work/compiled.err" || return 1
  in_environment compiled "${recorder[@]}" Scripts/conformance-training.sh "$sparrow" \
    "$work/compiled.run" 600 64 4 >"$work/compiled.out" 2>>"$work/compiled.err" || return 1
  local -A seen=()
  for text in "$folder"/*.cl; do
    sum=$(cksum <"$text")
    [ -z "${seen[$sum]:-}" ] || rm "$text"
    seen[$sum]=yes
  done
  recorded=yes
}

# clc_library NAME...: the first of the names that libclc has, which change between its versions.
clc_library() {
  local name
  for name; do
    [ ! -e "/usr/lib/clc/$name" ] || { echo "/usr/lib/clc/$name"; return; }
  done
  return 1
}

# check_compiled NAME TARGET ARCHITECTURE LIBRARIES PROCESSOR...: compiles the programs for each.
check_compiled() {
  local name=$1 target=$2 architecture=$3 clang version processor start library
  local -a libraries
  read -r -a libraries <<<"$4"
  shift 4
  if ! clang=$(clang_for "$architecture") || ! library=$(clc_library "${libraries[@]}"); then
    version=$(apt-cache pkgnames libclc- 2>/dev/null | sed -n 's/^libclc-\([0-9]*\)$/\1/p' |
      sort -n | tail -n 1)
    [ -n "$version" ] && install_for "$name" "clang-$version" "libclc-$version" &&
      clang=$(clang_for "$architecture") && library=$(clc_library "${libraries[@]}") ||
      { not_run "$name" "there is no Clang for it, or no libclc"; return; }
  fi
  record_programs "$clang" ||
    { not_run "$name" "the programs cannot be recorded (see .build-conformance/compiled.err)"; return; }
  for processor; do
    local file=$work/$name-$processor failed kept verdict=clean
    say "compiling for $processor"
    start=$SECONDS
    rm -rf "$file"
    mkdir -p "$file"
    printf '%s\n' "$work"/programs/*.cl | xargs -P "$(nproc)" -n 1 \
      Scripts/conformance-compile.sh "$clang" "$target" "$processor" "$library" "$file" \
      >"$file.out" 2>"$file.err"
    grep '^FAILED' "$file.out" >>"$file.err"
    failed=$(grep -vc '^ok' "$file.out")
    kept=$(grep -c '^ok [0-9]* .' "$file.out")
    [ "$kept" = 0 ] || verdict="clean, $kept with arrays in memory"
    [ "$failed" = 0 ] && [ -s "$file.out" ] || verdict="FAILED: $failed programs"
    conclude "$name" "compiled, $processor" "$clang" "$verdict" "$(grep -c '^ok' "$file.out")" \
      $((SECONDS - start)) "$file" ""
  done
}

check_amd() {
  check_compiled amd amdgcn-amd-amdhsa amdgcn "amdgcn-amd-amdhsa.bc amdgcn--amdhsa.bc" \
    gfx906 gfx1030
}

check_nvidia() {
  check_compiled nvidia nvptx64--nvidiacl nvptx64 nvptx64--nvidiacl.bc sm_70
}

for name in "${wanted[@]}"; do "check_$name"; done

echo
printf '%-9s %-21s %-24s %-34s %6s %7s\n' driver what version verdict cases seconds
printf '%s\n' "${rows[@]}"
[ $skipped -eq 0 ] || printf '%s\n' "${reasons[@]}"
[ $failures -eq 0 ] || exit 1
[ $skipped -eq 0 ] || [ -z "$require_all" ] || exit 1
exit 0
