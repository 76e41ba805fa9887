#!/usr/bin/env bash
# Prints a folder that holds etcd, kube-apiserver, kube-controller-manager and
# kubectl, building them first if need be (6 to 10 minutes on 2 cores, once per
# version). The folder lies outside the checkout: ${XDG_CACHE_HOME:-~/.cache}/moqrelay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=$(sed -n 's|^\tk8s.io/kubernetes v||p' go.mod)
sum=$(cat go.mod go.sum main.go build.sh | sha256sum | cut -c1-12)
out="${XDG_CACHE_HOME:-$HOME/.cache}/moqrelay/controlplane-$version-$sum"
if [ ! -x "$out/kubectl" ]; then
  echo "controlplane: building etcd and Kubernetes $version into $out (6 to 10 minutes, once)" >&2
  mkdir -p "$out"
  minor=${version#1.}
  x=k8s.io/component-base/version
  CGO_ENABLED=0 go build -trimpath -o "$out/controlplane" \
    -ldflags "-s -w -X $x.gitVersion=v$version -X $x.gitMajor=1 -X $x.gitMinor=${minor%%.*}" . >&2
  for name in etcd kube-apiserver kube-controller-manager kubectl; do
    ln -sf controlplane "$out/$name"
  done
fi
echo "$out"
