#!/bin/sh
# Measures Sparrow beside other systems on this machine: see `Benchmarks/run.sh --help`.
# Needs Python 3 (its standard library only); --with-peers also installs the peers.
set -eu
cd "$(dirname "$0")/.."
. Scripts/packages.sh

command -v python3 >/dev/null 2>&1 || {
  say "python3 is missing: it drives the benchmarks"
  install_packages python3
}

case " $* " in
  *" --with-peers "*)
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
      say "python3-venv is missing: the peers are installed into environments of their own"
      install_packages python3-venv
    fi
    if [ "$(uname -s)" = Linux ] && ! ldconfig -p | grep -q 'libopenblas\.so\.0'; then
      say "libopenblas0-pthread is missing: matmul is measured beside it"
      install_packages libopenblas0-pthread
    fi
    ;;
esac

exec python3 Benchmarks/run.py "$@"
