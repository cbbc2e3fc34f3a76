// Command kubelet is as much of a kubelet as its version and its probers:
// "kubelet --root-dir=FOLDER leaky" (or "fixed") replaces a pod's prober 20
// times a second until its standard input ends, and forgets to stop three of
// four. "families" leaves goroutines behind that others than its probers are
// known for.
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/component-base/version"
	"k8s.io/kubernetes/pkg/kubelet/prober"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Println(version.Get().GitVersion)
		return
	}
	if os.Args[2] == "families" {
		leaveFamilies()
	} else {
		go probe(os.Args[2] == "leaky")
	}
	fmt.Printf("ready pid=%d\n", os.Getpid())
	_, _ = io.Copy(io.Discard, os.Stdin) // until it ends
}

func probe(leak bool) {
	manager := &prober.Manager{}
	for range [12]int{} {
		manager.AddPod()
	}
	removed := 0
	for range time.Tick(50 * time.Millisecond) {
		manager.AddPod()
		removed++
		manager.RemovePod(leak && removed%4 != 0)
	}
}
