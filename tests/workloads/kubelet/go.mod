module k8s.io/kubernetes

go 1.21

require (
	github.com/containerd/ttrpc v0.0.0
	github.com/google/cadvisor v0.0.0
	github.com/moby/spdystream v0.0.0
	google.golang.org/grpc v0.0.0
	k8s.io/apimachinery v0.0.0
	k8s.io/client-go v0.0.0
	k8s.io/component-base v0.0.0
)

replace (
	github.com/containerd/ttrpc => ./ttrpc
	github.com/google/cadvisor => ./cadvisor
	github.com/moby/spdystream => ./spdystream
	google.golang.org/grpc => ./grpc
	k8s.io/apimachinery => ./apimachinery
	k8s.io/client-go => ./client-go
	k8s.io/component-base => ./component-base
)
