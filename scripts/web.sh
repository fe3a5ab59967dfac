#!/usr/bin/env bash
# The page of the console: build it, check it, generate its protobuf code. Needs Node 20.19 or newer.
#   scripts/web.sh build      install what package-lock.json names, build into services/console/internal/web/dist
#   scripts/web.sh check      types, lint, unit tests; a text without a translation does not compile
#   scripts/web.sh generate   TypeScript of the protos (needs bin/buf)
#   scripts/web.sh chromium   install Debian's Chromium for the browser tests when none is there
#   scripts/web.sh can        print "yes" where the page can be built
#   scripts/web.sh missing    say what is missing to build it
set -euo pipefail
cd "$(dirname "$0")/.."
web=services/console/web
dist=services/console/internal/web/dist

# Whether there is an npm, and a Node that Vite runs on.
can() {
  command -v npm >/dev/null && command -v node >/dev/null || return 1
  local major minor
  IFS=. read -r major minor _ <<<"$(node --version | tr -d v)"
  [ "$major" -gt 22 ] || { [ "$major" = 22 ] && [ "$minor" -ge 12 ]; } || { [ "$major" = 20 ] && [ "$minor" -ge 19 ]; }
}

missing() {
  echo "the page of the console needs npm and Node 20.19, 22.12 or newer (https://nodejs.org); here is: $(node --version 2>/dev/null || echo none)" >&2
}

# Installs only when the lock file changed since the last time.
install() {
  can || { missing; exit 1; }
  local stamp=$web/node_modules/.lock
  cmp -s "$web/package-lock.json" "$stamp" && return
  echo "installing what the page is built with" >&2
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
  scripts/debian.sh chromium fonts-noto-cjk
  ;;
can) can && echo yes || true ;;
missing) missing ;;
*)
  echo "scripts/web.sh: build, check, generate, chromium, can or missing" >&2
  exit 2
  ;;
esac
