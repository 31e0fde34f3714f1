//go:build tools

// Names the two programs that the cluster tests run, so that go.mod and go.sum pin what they are built from.
// It is never compiled: the tag keeps it out of every build.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
