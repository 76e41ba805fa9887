#!/usr/bin/env bash
# Prints a folder that holds etcd, all of Kubernetes, kubectl, helm, and what else
# a cluster of the rig runs, building them first if need be (7 to 14 minutes on 2
# cores, once per version). The suites that need an API server alone take it from
# here too. With --if-built it prints the folder only if it is complete and fails
# otherwise. The folder lies outside the checkout:
# ${XDG_CACHE_HOME:-~/.cache}/moqrelay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=$(sed -n 's|^\tk8s.io/kubernetes v||p' go.mod)
helm=$(sed -n 's|^\thelm.sh/helm/v4 \(v[^ ]*\).*|\1|p' go.mod)
sources=$(find kube addons -name '*.go' ! -name '*_test.go' | sort)
sum=$(cat go.mod go.sum build.sh $sources | sha256sum | cut -c1-12)
out="${XDG_CACHE_HOME:-$HOME/.cache}/moqrelay/kubernetes-$version-$sum"
# kubectl is the last to appear: where it is, the folder is complete.
if [ ! -e "$out/kubectl" ]; then
  [ "${1:-}" != --if-built ] || exit 1
  echo "compiling Kubernetes $version and helm $helm into $out: 7 to 14 minutes on two cores, once" >&2
  work="$out.$$"
  mkdir -p "$work"
  trap 'rm -rf "$work"' EXIT
  minor=${version#1.}
  x=k8s.io/component-base/version
  CGO_ENABLED=0 GOFLAGS= go build -trimpath -buildvcs=false -o "$work/" -ldflags "-s -w \
    -X $x.gitVersion=v$version -X $x.gitMajor=1 -X $x.gitMinor=${minor%%.*} \
    -X helm.sh/helm/v4/internal/version.version=$helm" \
    ./kube ./addons/cmd/... sigs.k8s.io/metrics-server/cmd/metrics-server helm.sh/helm/v4/cmd/helm >&2
  mkdir -p "$out"
  mv "$work"/* "$out/"
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -sf kube "$out/$name"
  done
fi
echo "$out"
