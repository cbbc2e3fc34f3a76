// Package version stands in for the package of this name, by which a kubelet
// knows its version: the linker stamps these variables.
package version

import "sync/atomic"

var (
	gitMajor     = ""
	gitMinor     = ""
	gitVersion   = "v0.0.0-master+$Format:%H$"
	gitCommit    = "$Format:%H$"
	gitTreeState = ""
	buildDate    = "1970-01-01T00:00:00Z"
)

var dynamicGitVersion atomic.Value

func init() {
	dynamicGitVersion.Store(gitVersion)
}

// Info is what a kubelet reports of itself.
type Info struct {
	Major, Minor, GitVersion, GitCommit, GitTreeState, BuildDate string
}

// Get returns the overall codebase version.
func Get() Info {
	return Info{
		Major:        gitMajor,
		Minor:        gitMinor,
		GitVersion:   dynamicGitVersion.Load().(string),
		GitCommit:    gitCommit,
		GitTreeState: gitTreeState,
		BuildDate:    buildDate,
	}
}
