#!/usr/bin/env bash
# Compiles one program for a GPU with Clang and libclc, without running it:
#
#   Scripts/conformance-compile.sh CLANG TARGET CPU LIBRARY FOLDER PROGRAM
#
# PROGRAM is a text of Scripts/opencl-programs.c, whose first line has the build's options. One line
# goes out: `ok KERNELS`, with the names of functions that keep variables in memory for want of registers
# or of loops unrolled, or `FAILED` and why. What is compiled lies in FOLDER.
set -uo pipefail
clang=$1 target=$2 cpu=$3 library=$4 folder=$5 program=$6
name=$(basename "$program" .cl)
out=$folder/$name
read -r -a options < <(head -n 1 "$program" | sed 's,^// ,,')

failed() {
  echo "FAILED $name ${options[*]}: $*"
  exit 0
}

# What some versions take for the oldest there is.
features=()
[ "$target" != nvptx64--nvidiacl ] || features=(-Xclang -target-feature -Xclang +ptx70)

compile() {
  # Not every Clang takes -mcpu for every target.
  "$clang" -target "$target" -Xclang -target-cpu -Xclang "$cpu" "${features[@]}" -nogpulib -O3 -S -Wno-unused-command-line-argument \
    -Wno-override-module "$@" 2>>"$out.err" || failed "$(grep -m 1 error "$out.err")"
}

: >"$out.err"
compile -x cl "${options[@]}" -Xclang -mlink-builtin-bitcode -Xclang "$library" -emit-llvm \
  -o "$out.ll" "$program"
# A function that is called and is nowhere: some drivers stop there. `__nv_` is of NVIDIA's own library.
missing=$(sed -nE 's/^declare .*@([A-Za-z_0-9]+)\(.*/\1/p' "$out.ll" | grep -vE '^(llvm|__nv_)' | xargs)
[ -z "$missing" ] || failed "nowhere defined: $missing"
compile -x ir -o "$out.s" "$out.ll"
# Newer Clangs keep a copy of each kernel that nothing calls here.
echo "ok $(grep -cE '^define .*(amdgpu_kernel|ptx_kernel|spir_kernel)' "$out.ll")" \
  "$(awk '/^[A-Za-z_0-9]+:/ { sub(":.*", ""); name = $0 }
          /^; ScratchSize: [1-9]/ { print name }
          /^\.(visible|func)/ { name = $NF; sub("\\(.*", "", name) }
          /^\t\.local .*__local_depot/ { print name }' "$out.s" |
    grep -v '^__clang_ocl_kern_imp_' | sort -u | xargs)"
