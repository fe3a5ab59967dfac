#!/usr/bin/env bash
# Builds the OCI image of every binary into bin/images, without a container engine. Static binaries go to bin/static.
#   scripts/images.sh [BINARY...]      REGISTRY=wxbus.local TAG=dev VERSION=... GOARCH=amd64 RELEASE_GO=go1.26.10
set -euo pipefail
cd "$(dirname "$0")/.."
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(gateway rule token sender agent-routing console simulator wxbus nats-server)
GOTOOLCHAIN=$(scripts/release-go.sh)
export GOTOOLCHAIN
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

build() { # BINARY PACKAGE MODULE-DIR
  # -buildvcs=false: a changed file elsewhere in the tree is no change of the binary.
  (cd "$3" && CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false -tags timetzdata \
    -ldflags "-s -w -X github.com/wxbus/wxbus/pkg/process.Version=$version" -o "$OLDPWD/bin/static/$1" "$2")
}

mkdir -p bin/static
for name in "${names[@]}"; do
  case $name in
    wxbus) build wxbus ./services/allinone/cmd/wxbus . ;;
    nats-server) build nats-server github.com/nats-io/nats-server/v2 tests ;;
    *) build "$name" "./services/$name/cmd/$name" . ;;
  esac
done
go run ./tests/cmd/images -out bin/images -registry "${REGISTRY:-wxbus.local}" -tag "${TAG:-dev}" \
  -version "$version" -revision "$(git rev-parse HEAD 2>/dev/null || true)" -created "$created" "${names[@]/#/bin/static/}"
