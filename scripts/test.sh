#!/usr/bin/env bash
# The whole check: cheap things first, then tests, then the end-to-end table in both shapes.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }

step "what the tests need"
scripts/postgres.sh
scripts/prometheus.sh
scripts/ffmpeg.sh

step "formatting"
unformatted=$(gofmt -l pkg services tests)
[ -z "$unformatted" ] || { echo "run make fmt: $unformatted" >&2; exit 1; }

step "modules build without the workspace"
for m in $(scripts/modules.sh); do
  GOWORK=off go -C "$m" mod tidy -diff
  GOWORK=off go -C "$m" vet ./...
done

step "borders between modules"
scripts/check-imports.sh

step "page of the console: types, lint, unit tests"
scripts/web.sh check

step "binaries"
make --no-print-directory build

step "generated documents, and what documents name"
make --no-print-directory docs-check

step "unit and integration tests"
make --no-print-directory unit

step "images and manifests"
make --no-print-directory manifests

step "end to end: all in one process, then split over a NATS of three"
make --no-print-directory e2e

step "faults: the rows of the table that find most"
make --no-print-directory chaos-short

step "alerts, dashboards and runbooks against a real Prometheus"
make --no-print-directory observability

step "the page in a browser over the real system, short form"
scripts/web.sh chromium
node tests/web/run.mjs
