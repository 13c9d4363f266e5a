#!/usr/bin/env bash
# Runs Kubernetes' kubectl suite in the current folder, a copy of what it needs of
# k8s.io/kubernetes, against https://127.0.0.1:$SECURE_API_PORT with $TOKEN. Each
# function runs by itself for at most five minutes; its output goes to
# $LOGS/NAME.log, its result to $RESULTS. ONLY names the functions to run.
set -o errexit -o nounset -o pipefail
KUBE_ROOT=$PWD
export KUBE_ROOT
# shellcheck disable=SC1091
source hack/lib/init.sh
source hack/lib/test.sh
source test/cmd/legacy-script.sh
trap - ERR

KUBE_TEMP=$(mktemp -d)
trap 'rm -rf "$KUBE_TEMP"' EXIT
export HOME=$KUBE_TEMP CONTEXT=test
kubectl config set-credentials test-admin --token "$TOKEN"
kubectl config set-cluster local --insecure-skip-tls-verify --server "https://127.0.0.1:$SECURE_API_PORT"
kubectl config set-context test --user test-admin --cluster local
kubectl config use-context test
# The suite's own node.
kubectl delete nodes --all
kubectl create -f - <<<'{"kind":"Node","apiVersion":"v1","metadata":{"name":"127.0.0.1","annotations":{"save-managers":"true"}},"status":{"capacity":{"memory":"1Gi"}}}'

record_command() {
	set +o nounset
	set +o errexit
	local name=$1 rc
	if [ -z "$ONLY" ] || [[ " $ONLY " == *" $name "* ]]; then
		set -m # a process group of its own
		("$@") >"$LOGS/$name.log" 2>&1 </dev/null &
		local pid=$!
		set +m
		(sleep 300 && kill -9 -- -$pid) >/dev/null 2>&1 &
		local guard=$!
		wait $pid
		rc=$?
		pkill -P $guard 2>/dev/null
		kill $guard 2>/dev/null
		if [ $rc = 0 ]; then echo "$name pass"; else echo "$name fail"; fi >>"$RESULTS"
	fi
	set -o nounset
	set -o errexit
}
kube::test::clear_all() { :; }
SUPPORTED_RESOURCES=("*")
if [ -n "$ONLY" ]; then
	# What stands between the functions is of the long run.
	kube_flags=(-s "https://127.0.0.1:$SECURE_API_PORT" --insecure-skip-tls-verify --match-server-version)
	eval "$(declare -f runTests | sed -n '/export id_field/,/export image_field1/p')"
	for f in $ONLY; do record_command "$f"; done
else
	runTests
fi
