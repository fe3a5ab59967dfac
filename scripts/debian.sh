#!/usr/bin/env bash
# Installs packages of Debian or Ubuntu, as root or with sudo; where neither can be, it says what to do. Without a package
# it only reads the lists anew.
#   scripts/debian.sh [--before SHELL] PACKAGE...
set -euo pipefail
before=
if [ "${1:-}" = --before ]; then
  before=$2
  shift 2
fi
command -v apt-get >/dev/null || {
  echo "the tests need ${*:-packages of Debian}, and there is no apt-get here: install it with the package manager of this system" >&2
  exit 1
}
root=()
if [ "$(id -u)" != 0 ]; then
  root=(sudo)
  if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && ! [ -t 0 ]; }; then
    echo "the tests need ${*:-fresh lists of packages}, which only root may install: run this as root and start again: apt-get update && apt-get install -y $*" >&2
    exit 1
  fi
fi
[ -z "$before" ] || "${root[@]}" bash -c "$before"
"${root[@]}" timeout 300 apt-get update -q
[ $# = 0 ] || "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
