#!/usr/bin/env bash
# build.sh NAME: builds the pinned tool of tools/NAME once and prints the
# directory of its binary, whose name ends with the hash of its go.mod and go.sum.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$1
cache=${CAIRN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/cairn/tools}
hash=$(cat "$here/$name/go.mod" "$here/$name/go.sum" | sha256sum | cut -c1-16)
dir=$cache/$name-$hash
if [ ! -e "$dir/.complete" ]; then
	echo "building $name (once) ..." >&2
	mkdir -p "$dir"
	CGO_ENABLED=0 "${GO:-go}" build -C "$here/$name" -mod=readonly -trimpath -o "$dir/" tool
	touch "$dir/.complete"
fi
echo "$dir"
