package image

import (
	"debug/buildinfo"
	"fmt"
	"runtime"
	"strings"
)

// Platform is what a program is compiled for.
type Platform struct {
	OS   string `json:"os"`
	Arch string `json:"architecture"`
}

// Published lists the platforms of our images.
func Published() []Platform { return []Platform{{"linux", "amd64"}, {"linux", "arm64"}} }

// Host is the platform of containers on this machine.
func Host() Platform { return Platform{"linux", runtime.GOARCH} }

// String is the form that engines use, such as linux/amd64.
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// ParsePlatforms reads a list such as linux/amd64,linux/arm64.
func ParsePlatforms(list string) ([]Platform, error) {
	var platforms []Platform
	for s := range strings.SplitSeq(list, ",") {
		os, arch, ok := strings.Cut(s, "/")
		if !ok || os != "linux" || arch == "" || strings.Contains(arch, "/") {
			return nil, fmt.Errorf("platform %q: want linux and an architecture, such as linux/amd64", s)
		}
		platforms = append(platforms, Platform{os, arch})
	}
	return platforms, nil
}

// platformOf says what a program was compiled for.
func platformOf(info *buildinfo.BuildInfo) Platform {
	var p Platform
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			p.OS = s.Value
		case "GOARCH":
			p.Arch = s.Value
		}
	}
	return p
}
