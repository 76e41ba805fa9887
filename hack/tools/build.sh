#!/usr/bin/env bash
# Prints a folder that holds the tools of go.mod, building those that are not
# there yet: all of them, or the ones named as arguments (golangci-lint takes
# about four minutes on 2 cores, once per version; the others seconds). The
# folder lies outside the checkout: ${XDG_CACHE_HOME:-~/.cache}/moqrelay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
sum=$( (cat go.mod go.sum build.sh; go env GOVERSION GOOS GOARCH) | sha256sum | cut -c1-12)
out="${XDG_CACHE_HOME:-$HOME/.cache}/moqrelay/tools-$sum"
mkdir -p "$out"
for path in $(sed -n '/^tool (/,/^)/s|^\t||p' go.mod); do
  name=${path##*/}
  if [ -x "$out/$name" ] || { [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; }; then
    continue
  fi
  echo "tools: building $name into $out" >&2
  # Renamed when complete: two builds at once may not meet half a binary.
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out/$name.$$" "$path" >&2
  mv "$out/$name.$$" "$out/$name"
done
echo "$out"
