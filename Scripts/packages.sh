# shellcheck shell=sh
# Sourced by the other scripts: installing system packages, politely.

# One line about what is being done.
say() { printf '%s\n' "sparrow: $*"; }

# One line about what went wrong, and the end.
die() {
  printf '%s\n' "sparrow: error: $*" >&2
  exit 1
}

# What to install by hand on systems that are not Debian or Ubuntu.
other_systems() {
  cat <<'EOF'
  Fedora:     dnf install gcc-c++ binutils-gold pkgconf-pkg-config ocl-icd-devel opencl-headers \
                          pocl libpng-devel libjpeg-turbo-devel libtiff-devel zlib-devel
  Arch Linux: pacman -S gcc pkgconf ocl-icd opencl-headers pocl libpng libjpeg-turbo libtiff zlib
  macOS:      xcode-select --install; brew install libpng jpeg-turbo libtiff pkgconf
              (OpenCL is part of macOS)
  elsewhere:  a C++ compiler's headers, pkg-config, Khronos' OpenCL loader and headers, an OpenCL
              driver (PoCL runs on any CPU), libpng, libjpeg, libtiff, zlib
EOF
}

# install_packages PACKAGE...: installs through apt-get, as root or through sudo. The caller has
# said why. Stops the script, with what to do, where that is not possible.
install_packages() {
  if ! command -v apt-get >/dev/null 2>&1; then
    {
      echo "sparrow: error: missing: $*"
      echo "(names as in Debian), and this system has no apt-get. Install what is missing, then"
      echo "run the command again:"
      other_systems
    } >&2
    exit 1
  fi
  if [ "$(id -u)" = 0 ]; then
    as_root=
  elif ! command -v sudo >/dev/null 2>&1; then
    die "installing needs root, and there is no sudo. As root, run:
  apt-get update && apt-get install -y --no-install-recommends $*
then run the command again."
  elif sudo -n true 2>/dev/null || [ -t 0 ]; then
    as_root=sudo
  else
    die "installing needs root, and sudo wants a password but there is no terminal. Run:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends $*
then run the command again."
  fi
  apt_log=$(mktemp "${TMPDIR:-/tmp}/sparrow-apt.XXXXXX")
  if [ -z "${package_lists_fresh:-}" ]; then
    say "running ${as_root:+sudo }apt-get update"
    # A repository that has nothing to do with us may be broken: let the installation decide.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$apt_log" 2>&1 ||
      say "apt-get update reported an error; going on: $(grep -m 1 '^E' "$apt_log" || tail -n 1 "$apt_log")"
    package_lists_fresh=yes
  fi
  say "running ${as_root:+sudo }apt-get install $*"
  if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >"$apt_log" 2>&1 </dev/null; then
    tail -n 20 "$apt_log" >&2
    die "apt-get could not install: $* (its whole output: $apt_log)"
  fi
  rm -f "$apt_log"
}
