#!/usr/bin/env bash
# Prints a folder that holds etcd, kube-apiserver, kube-controller-manager,
# kubectl and helm, building them first if need be (8 to 14 minutes on 2 cores,
# once per version). With --if-built it prints the folder only if it is complete
# and fails otherwise. The folder lies outside the checkout:
# ${XDG_CACHE_HOME:-~/.cache}/moqrelay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=$(sed -n 's|^\tk8s.io/kubernetes v||p' go.mod)
helm=$(sed -n 's|^\thelm.sh/helm/v4 \(v[^ ]*\).*|\1|p' go.mod)
sum=$(cat go.mod go.sum main.go build.sh | sha256sum | cut -c1-12)
out="${XDG_CACHE_HOME:-$HOME/.cache}/moqrelay/controlplane-$version-$sum"
# kubectl is the last to appear: where it is, the folder is complete.
if [ ! -x "$out/kubectl" ]; then
  [ "${1:-}" != --if-built ] || exit 1
  echo "controlplane: building etcd, Kubernetes $version and helm $helm into $out (8 to 14 minutes, once)" >&2
  mkdir -p "$out"
  minor=${version#1.}
  x=k8s.io/component-base/version
  CGO_ENABLED=0 go build -trimpath -o "$out/controlplane.$$" \
    -ldflags "-s -w -X $x.gitVersion=v$version -X $x.gitMajor=1 -X $x.gitMinor=${minor%%.*}" . >&2
  CGO_ENABLED=0 go build -trimpath -o "$out/helm.$$" \
    -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$helm" helm.sh/helm/v4/cmd/helm >&2
  mv "$out/helm.$$" "$out/helm"
  mv "$out/controlplane.$$" "$out/controlplane"
  for name in etcd kube-apiserver kube-controller-manager kubectl; do
    ln -sf controlplane "$out/$name"
  done
fi
echo "$out"
