#!/usr/bin/env bash
# Looks for known vulnerabilities in what is linked, and for unsafe code. Fails on any finding.
#   scripts/security.sh                 both
#   scripts/security.sh vulnerabilities only govulncheck
#   STDLIB=warn scripts/security.sh     findings in Go's standard library are printed, and do not fail: build with a newer Go
# The database is vuln.go.dev; where only a module proxy is reached, that of golang.org/x/vulndb (VULNDB=version).
set -euo pipefail
cd "$(dirname "$0")/.."

vulnerabilities() {
  scripts/tools.sh govulncheck
  GOTOOLCHAIN=$(scripts/release-go.sh) # the standard library that releases link
  export GOTOOLCHAIN
  local db=(-db https://vuln.go.dev) out=bin/.vulnerabilities
  if ! curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then
    local dir
    dir=$(go mod download -json "golang.org/x/vulndb@${VULNDB:-latest}" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    rm -rf bin/.vulndb
    go run ./tests/cmd/vulndb -osv "$dir/data/osv" -out bin/.vulndb
    db=(-db "file://$PWD/bin/.vulndb")
  fi
  # The all-in-one links every service.
  local bin=$PWD/bin
  if (cd services/allinone && "$bin/govulncheck" "${db[@]}" ./...) >"$out"; then
    tail -n 3 "$out"
    return
  fi
  cat "$out"
  if [ "${STDLIB:-}" = warn ] && grep -qE 'affected by [0-9]+ vulnerabilit(y|ies) from the Go standard library\.' "$out"; then
    echo "only in the standard library of $(go version | cut -d' ' -f3): build with a newer Go" >&2
    return
  fi
  return 1
}

vulnerabilities
[ "${1:-}" = vulnerabilities ] && exit 0
scripts/tools.sh golangci-lint
# shellcheck disable=SC2046
bin/golangci-lint run --enable-only gosec $(scripts/modules.sh | sed 's|.*|./&/...|')
