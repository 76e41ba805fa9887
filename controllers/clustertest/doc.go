// Package clustertest starts a real Kubernetes control plane for tests: etcd and
// kube-apiserver, and kube-controller-manager where a suite asks for it. Nothing
// behind the API is faked, but there is no kubelet; Kubelet stands in for one by
// reporting pods as running. For tests only.
//
// A test binary has at most one control plane, started by the first test that
// needs it, and each test has a namespace of its own:
//
//	var plane = clustertest.New(clustertest.Options{…})
//
//	func TestMain(m *testing.M) { os.Exit(plane.Run(m)) }
//
//	func TestSomething(t *testing.T) {
//		plane.Start(t)
//		ns := plane.Namespace(t)
//		…
//	}
//
// Where the binaries are missing, a test fails if the variable CI is set and is
// skipped with a line that says what to do otherwise.
package clustertest
