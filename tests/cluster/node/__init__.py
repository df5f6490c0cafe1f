"""A real node: kubelet, containerd, runc and kube-proxy in namespaces of their own. `make test/cluster/node` runs what is here."""
