#!/usr/bin/env bash
# Rewrites what is made from Go types and their markers: deep copies, the
# CustomResourceDefinition, the operator's role, and the chart's copies of the
# latter two. CI runs it and wants no difference.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
gen=$(hack/tools/build.sh controller-gen)/controller-gen

"$gen" object paths=./api/...
"$gen" crd paths=./api/... output:crd:dir=config/crd
"$gen" rbac:roleName=moq-operator paths=./controllers/relaycluster output:rbac:dir=config/rbac

files=charts/moq-operator/files
mkdir -p "$files"
cp config/crd/moqrelay.io_relayclusters.yaml "$files/"
# The chart makes a role of its own around the rules.
sed -n '/^rules:/,$p' config/rbac/role.yaml | sed 1d > "$files/rules.yaml"
