#!/usr/bin/env bash
# Prints a folder that holds helm of version 3, the older of the two that the
# chart installs with, building it first if need be (a minute or two on 2 cores,
# once per version). With --if-built it prints the folder only if helm is there
# and fails otherwise. The folder lies outside the checkout:
# ${XDG_CACHE_HOME:-~/.cache}/moqrelay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=$(sed -n 's|^\thelm.sh/helm/v3 \(v[^ ]*\).*|\1|p' go.mod)
sum=$( (cat go.mod go.sum build.sh; go env GOVERSION GOOS GOARCH) | sha256sum | cut -c1-12)
out="${XDG_CACHE_HOME:-$HOME/.cache}/moqrelay/helm-$version-$sum"
if [ ! -x "$out/helm" ]; then
  [ "${1:-}" != --if-built ] || exit 1
  echo "helm3: building helm $version into $out" >&2
  mkdir -p "$out"
  # The Kubernetes that "helm template" pretends to speak to.
  minor=$(sed -n 's|^\tk8s.io/client-go v0\.\([0-9]*\)\..*|\1|p' go.mod)
  x=helm.sh/helm/v3
  CGO_ENABLED=0 go build -trimpath -o "$out/helm.$$" \
    -ldflags "-s -w -X $x/internal/version.version=$version -X $x/pkg/chartutil.k8sVersionMajor=1 -X $x/pkg/chartutil.k8sVersionMinor=$minor" helm.sh/helm/v3/cmd/helm >&2
  mv "$out/helm.$$" "$out/helm"
fi
echo "$out"
