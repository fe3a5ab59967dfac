#!/usr/bin/env bash
# Installs the pinned development tools into bin/. Building and testing need none of them:
# generated code is committed. Name tools to install only those: scripts/tools.sh buf
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A tools=(
  [protoc-gen-go]=google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
  [protoc-gen-go-grpc]=google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
  [protoc-gen-connect-go]=connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1
  [buf]=github.com/bufbuild/buf/cmd/buf@v1.73.0
  [govulncheck]=golang.org/x/vuln/cmd/govulncheck@v1.9.0
  [golangci-lint]=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
)
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(protoc-gen-go protoc-gen-go-grpc protoc-gen-connect-go buf golangci-lint)

mkdir -p bin
for name in "${names[@]}"; do
  pkg=${tools[$name]:?unknown tool, one of: ${!tools[*]}}
  stamp=bin/.$name.version
  if [ -x "bin/$name" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$pkg" ]; then continue; fi
  echo "installing $pkg (the first time takes minutes)" >&2
  GOBIN=$PWD/bin GOFLAGS= go install "$pkg"
  echo "$pkg" >"$stamp"
done
