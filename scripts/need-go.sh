#!/usr/bin/env bash
# Fails with the way out when there is no Go that can build this. From 1.21 on Go fetches by itself the version that go.work names.
set -euo pipefail
version=$(go env GOVERSION 2>/dev/null || true)
IFS=. read -r major minor _ <<<"${version#go}"
case $version in
"") echo "building needs Go 1.26 or newer, and there is no go on the PATH: https://go.dev/dl" >&2 ;;
go1.*) [ "${minor%%[!0-9]*}" -lt 21 ] || exit 0
  echo "building needs Go 1.26 or newer, here is $version: https://go.dev/dl" >&2 ;;
*) exit 0 ;; # built from source
esac
exit 1
