module github.com/containerd/ttrpc

go 1.21
