#!/usr/bin/env bash
# The page of the console: build it, check it, generate its protobuf code. Needs Node 20.19 or newer.
#   scripts/web.sh build      install what package-lock.json names, build into services/console/internal/web/dist
#   scripts/web.sh check      types, lint, unit tests; a text without a translation does not compile
#   scripts/web.sh generate   TypeScript of the protos (needs bin/buf)
#   scripts/web.sh chromium   install Debian's Chromium for the browser tests when none is there
set -euo pipefail
cd "$(dirname "$0")/.."
web=services/console/web
dist=services/console/internal/web/dist

need_node() {
  command -v npm >/dev/null || { echo "the page of the console needs Node 20.19 or newer" >&2; exit 1; }
}

# Installs only when the lock file changed since the last time.
install() {
  need_node
  local stamp=$web/node_modules/.lock
  cmp -s "$web/package-lock.json" "$stamp" && return
  npm --prefix "$web" ci --no-audit --no-fund --loglevel=error
  cp "$web/package-lock.json" "$stamp"
}

case ${1:-build} in
build)
  install
  rm -rf "$dist/assets" "$dist/index.html"
  npm --prefix "$web" run --silent build -- --logLevel warn
  ;;
check)
  install
  npm --prefix "$web" run --silent check
  npm --prefix "$web" run --silent lint
  npm --prefix "$web" run --silent test
  ;;
generate)
  install
  rm -rf "$web/src/gen"
  bin/buf generate --template "$web/buf.gen.yaml"
  ;;
chromium)
  for c in chromium chromium-browser google-chrome; do command -v "$c" >/dev/null && exit 0; done
  [ "$(id -u)" = 0 ] && sudo="" || sudo=sudo
  $sudo apt-get update -q
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends chromium fonts-noto-cjk
  ;;
*)
  echo "scripts/web.sh: build, check, generate or chromium" >&2
  exit 2
  ;;
esac
