#!/bin/sh
# Makes a machine ready to build and run Sparrow: checks the Swift toolchain, then installs what is
# missing of the OpenCL loader and headers, the image libraries and what Swift's linker needs; and
# PoCL, an OpenCL implementation for CPUs, where no OpenCL device answers. Says what it installs and
# why, touches nothing that is there already, and takes a fraction of a second when all is there.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/Scripts/packages.sh"

# Keep in step with the first line of Package.swift.
swift_major=6
swift_minor=1

work=$root/.build-setup
mkdir -p "$work"
probe=$work/opencl-probe
system=$(uname -s)

# Packages to install, and one line for each that says why.
missing=
need() {
  missing="$missing $1"
  say "$1 is missing: $2"
}

# The Swift toolchain --------------------------------------------------------------------------

# Shared libraries that the toolchain's own programs want and this system lacks.
check_toolchain_libraries() {
  bin=$(dirname "$(readlink -f "$(command -v swift)")")
  for library in $(ldd "$bin/swift-package" "$bin/swift-frontend" 2>/dev/null |
    sed -n 's/^[[:space:]]*\([^ ]*\) => not found$/\1/p' | sort -u); do
    case $library in
      libcurl.so.4) need libcurl4 "the Swift toolchain loads $library" ;;
      libxml2.so.2) need libxml2 "the Swift toolchain loads $library" ;;
      libncurses.so.6) need libncurses6 "the Swift toolchain loads $library" ;;
      libtinfo.so.6) need libtinfo6 "the Swift toolchain loads $library" ;;
      libsqlite3.so.0) need libsqlite3-0 "the Swift toolchain loads $library" ;;
      libuuid.so.1) need libuuid1 "the Swift toolchain loads $library" ;;
      libedit.so.2) need libedit2 "the Swift toolchain loads $library" ;;
      libstdc++.so.6) need libstdc++6 "the Swift toolchain loads $library" ;;
      libz.so.1) need zlib1g "the Swift toolchain loads $library" ;;
      *) say "warning: the Swift toolchain wants $library, which this system lacks" ;;
    esac
  done
}

how_to_get_swift="Install Swift $swift_major.$swift_minor or newer from https://www.swift.org/install"

check_swift_is_there() {
  command -v swift >/dev/null 2>&1 ||
    die "there is no 'swift' on the PATH. $how_to_get_swift; if it is installed, put its usr/bin on the PATH."
}

# Sets `swift_version`, to nothing where the toolchain cannot even say that.
check_swift_version() {
  answer=$(swift --version 2>&1) || true
  swift_version=$(printf '%s\n' "$answer" |
    sed -n 's/.*Swift version \([0-9][0-9]*\.[0-9][0-9.]*\).*/\1/p' | head -n 1)
  [ -n "$swift_version" ] || return 0
  major=${swift_version%%.*}
  minor=${swift_version#*.}
  minor=${minor%%.*}
  if [ "$major" -lt $swift_major ] ||
    { [ "$major" -eq $swift_major ] && [ "$minor" -lt $swift_minor ]; }; then
    die "Swift $swift_version is too old, $swift_major.$swift_minor is the oldest that builds Sparrow. $how_to_get_swift."
  fi
}

# Headers and libraries --------------------------------------------------------------------------

# The toolchain's own clang, which SwiftPM compiles C with; else the system's compiler.
find_compilers() {
  for cc in clang cc gcc; do command -v $cc >/dev/null 2>&1 && break; done
  for cxx in clang++ c++ g++; do command -v $cxx >/dev/null 2>&1 && break; done
}

# Compiles the probe against everything the package links, all in one go.
build_probe() {
  rm -f "$probe"
  if [ "$system" = Darwin ]; then opencl='-framework OpenCL'; else opencl=-lOpenCL; fi
  # stdio.h first: jpeglib.h uses FILE without including it. (Word splitting is wanted.)
  # shellcheck disable=SC2046,SC2086
  $cc -w -O1 -o "$probe" -include stdio.h "$root/Scripts/opencl-probe.c" \
    -include zlib.h -include png.h -include jpeglib.h -include tiffio.h \
    $(pkg-config --cflags --libs libpng libjpeg libtiff-4 zlib 2>/dev/null) $opencl >"$work/probe.log" 2>&1
}

# links HEADER LIBRARY: whether a program with both can be built; while nothing can be built yet,
# whether the header is there.
links() {
  if [ -z "$compiles" ]; then
    for header in /usr/include/"$1" /usr/include/*/"$1"; do [ ! -e "$header" ] || return 0; done
    return 1
  fi
  printf '#include <stddef.h>\n#include <stdio.h>\n#include <%s>\nint main(void) { return 0; }\n' \
    "$1" | $cc -w -x c - -o "$work/link-test" "-l$2" >/dev/null 2>&1
}

links_cxx() {
  printf '#include <cstddef>\nint main() { return 0; }\n' |
    $cxx -x c++ - -o "$work/link-test" >/dev/null 2>&1
}

check_libraries() {
  command -v pkg-config >/dev/null 2>&1 ||
    need pkg-config "the Swift package manager finds the image libraries through it"
  if [ -e /etc/debian_version ] && [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
    need ca-certificates "dependencies and data sets are downloaded over HTTPS"
  fi
  if [ "$system" = Linux ] && ! command -v ld.gold >/dev/null 2>&1; then
    if apt-cache show binutils-gold 2>/dev/null | grep -q '^Filename'; then
      need binutils-gold "Swift links with ld.gold"
    else
      need binutils "Swift links with ld.gold, which it holds"
    fi
  fi
  compiles=yes
  if ! links_cxx; then
    compiles=
    # clang takes the newest GCC installation it finds, even one without C++ headers.
    gcc=$($cxx -v 2>&1 | sed -n 's/^Selected GCC installation: .*\/\([0-9][0-9]*\)$/\1/p')
    if [ -n "$gcc" ]; then
      need "libstdc++-$gcc-dev" "Swift's C++ compiler finds no C++ standard library"
    else
      need g++ "the C and C++ headers and start-up files that Swift compiles and links against"
    fi
  fi
  if [ -z "$compiles" ] || ! build_probe; then
    links zlib.h z || need zlib1g-dev "gzip-compressed data sets and PNG use zlib"
    links png.h png || need libpng-dev "reads and writes PNG images"
    links jpeglib.h jpeg || need libjpeg-dev "reads JPEG images"
    links tiffio.h tiff || need libtiff-dev "reads and writes TIFF images"
    if [ "$system" != Darwin ] && ! links CL/cl.h OpenCL; then
      need opencl-headers "declares the OpenCL API"
      need ocl-icd-opencl-dev "the OpenCL loader, which finds the devices' drivers"
      # Else the probe will tell, once it can be built.
      has_driver || need_pocl
    fi
  fi
  install_missing
  [ -x "$probe" ] || build_probe ||
    die "the libraries are there, but a program using them does not build: $(cat "$work/probe.log")"
}

install_missing() {
  [ -n "$missing" ] || return 0
  # shellcheck disable=SC2086
  install_packages $missing
  missing=
  installed=yes
}

# An OpenCL device -------------------------------------------------------------------------------

# Whether the loader's list names any driver at all.
has_driver() {
  [ -z "${OCL_ICD_VENDORS:-}${OCL_ICD_FILENAMES:-}" ] || return 0
  for driver in /etc/OpenCL/vendors/*.icd; do [ ! -e "$driver" ] || return 0; done
  return 1
}

need_pocl() {
  need pocl-opencl-icd "no OpenCL device answers here; PoCL makes one of the CPU"
  say "(for a GPU, install its vendor's OpenCL driver: Sparrow then finds and prefers it)"
}

# Sets `device` to the first usable device's platform, name and driver. A driver that crashes or
# hangs counts as none.
find_device() {
  if command -v timeout >/dev/null 2>&1; then limit='timeout 60'; else limit=; fi
  device=$($limit "$probe" 2>"$work/probe.log" | head -n 1 | cut -f 2-4 | tr '\t' ',' | sed 's/,/, /g') || true
  [ -n "$device" ]
}

check_device() {
  find_device && return
  [ "$system" != Darwin ] || die "macOS lists no OpenCL device."
  if [ -n "${OCL_ICD_VENDORS:-}${OCL_ICD_FILENAMES:-}" ]; then
    die "no OpenCL device answers with OCL_ICD_VENDORS='${OCL_ICD_VENDORS:-}' and \
OCL_ICD_FILENAMES='${OCL_ICD_FILENAMES:-}'; unset them, or correct them."
  fi
  # What PoCL needs may be there while the device is not: installing it again would change nothing.
  if ! dpkg-query -W -f '${db:Status-Status}' pocl-opencl-icd 2>/dev/null | grep -qx installed; then
    need_pocl
    install_missing
    find_device && return
  fi
  die "no OpenCL device answers, although PoCL is installed: $(cat "$work/probe.log")"
}

installed=
check_swift_is_there
check_swift_version
[ "$system" != Linux ] || check_toolchain_libraries
find_compilers
check_libraries
if [ -z "$swift_version" ]; then
  # It may have lacked the libraries that are installed now.
  check_swift_version
  [ -n "$swift_version" ] || die "'swift --version' does not work: $answer"
fi
check_device
say "set-up ${installed:+now }complete: Swift $swift_version; OpenCL device: $device"
