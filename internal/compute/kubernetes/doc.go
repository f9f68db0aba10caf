// Package kubernetes is the compute driver that runs containers as Pods of a
// Kubernetes cluster.
//
// A container is a Pod that is never restarted, with a name made of its id, so
// that making it twice makes it once. It is created with a scheduling gate,
// which Start takes away: until then it takes nothing of the cluster. A
// finalizer keeps the Pod, and with it how it ended, until Remove, also when
// its node is drained or lost; kubernetes knows the rest, and the driver keeps
// nothing of its own.
//
// A mount's source is a path of the server's below one of the configured
// Volumes, which the server and the Pods both have.
package kubernetes
