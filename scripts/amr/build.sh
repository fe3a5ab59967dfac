#!/usr/bin/env bash
# Makes the decoder of AMR voices anew: opencore-amr, compiled to WebAssembly, written as Go. The result is committed; this is for who wants
# to check or renew it. Needs Debian 12 with clang, lld, wasi-libc and libclang-rt-14-dev-wasm32, and Go.
#   scripts/amr/build.sh opencore-amr_0.1.6.orig.tar.gz    (as Debian has it: apt-get source --download-only opencore-amr)
set -euo pipefail
source=$(realpath "${1:?the source of opencore-amr 0.1.6}")
cd "$(dirname "$0")/../.."
out=$PWD/services/agent-routing/internal/media/amr/codec/codec.go
shim=$PWD/scripts/amr/shim.c
digest=483eb4061088e2b34b358e47540b5d495a96cd468e361050fae615b1809dc4a1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo "$digest  $source" | sha256sum -c -
tar xzf "$source" --strip-components=1

amr=opencore/codecs_v2/audio/gsm_amr
# What the library's own build takes for a decoder alone.
files=$( { awk '/^if AMRNB_DECODER/,/^endif/' amrnb/Makefile.am | grep -o '(DEC_SRC_DIR)/[a-z0-9_]*\.cpp'
  grep -v '^#' amrnb/Makefile.am | grep -o '(COMMON_SRC_DIR)/[a-z0-9_]*\.cpp'; } |
  sed "s#(DEC_SRC_DIR)#$amr/amr_nb/dec/src#; s#(COMMON_SRC_DIR)#$amr/amr_nb/common/src#")
# shellcheck disable=SC2086 # a list of files
clang --target=wasm32-wasi -isystem /usr/include/wasm32-wasi -O2 -x c -std=c99 -DNDEBUG -w \
  -Ioscl -I$amr/amr_nb/dec/src -I$amr/amr_nb/common/include -I$amr/amr_nb/dec/include -I$amr/common/dec/include \
  -nostdlib -Wl,--no-entry -Wl,--gc-sections -Wl,--strip-all -Wl,-z,stack-size=65536 \
  -o codec.wasm "$shim" $files -x none -L/usr/lib/wasm32-wasi -lc
GOBIN=$work GOFLAGS=-mod=mod GOWORK=off go install github.com/ncruces/wasm2go@v0.4.21
./wasm2go -pkg codec -o "$out" codec.wasm
gofmt -w "$out"
