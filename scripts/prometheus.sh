#!/usr/bin/env bash
# Puts prometheus and promtool of Debian's package into bin/. The package is unpacked, not installed, so that no
# server starts on the machine and nothing else comes along: 19 MB, seconds. Does nothing when they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -x bin/prometheus ] && [ -x bin/promtool ]; then exit 0; fi
mkdir -p bin
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  ln -sf "$(command -v prometheus)" bin/prometheus
  ln -sf "$(command -v promtool)" bin/promtool
  exit 0
fi
command -v apt-get >/dev/null || { echo "the tests need prometheus and promtool, and there is no apt-get here: install Prometheus 2 so that both are on the PATH" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
(cd "$dir" && timeout 120 apt-get download -q prometheus) || {
  scripts/debian.sh
  (cd "$dir" && timeout 300 apt-get download -q prometheus)
}
dpkg-deb -x "$dir"/prometheus_*.deb "$dir/root"
install -m 755 "$dir/root/usr/bin/promtool" "$dir/root/usr/bin/prometheus" bin/
