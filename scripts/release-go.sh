#!/usr/bin/env bash
# Prints the GOTOOLCHAIN that releases are built and examined with: the newest patch release that this repository knows, which
# the module proxy serves, or that of this machine when it cannot be had. Tests use the Go that is installed.
set -euo pipefail
release=${RELEASE_GO:-go1.26.10}
if (cd / && GOTOOLCHAIN=$release GOFLAGS= timeout 300 go version >/dev/null 2>&1); then
  echo "$release"
else
  echo "$release cannot be downloaded: using $(go env GOVERSION), whose standard library may have known vulnerabilities" >&2
  echo local
fi
