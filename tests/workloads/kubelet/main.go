// Command kubelet is as much of a kubelet as its version.
package main

import (
	"fmt"

	"k8s.io/component-base/version"
)

func main() {
	fmt.Println(version.Get().GitVersion)
}
