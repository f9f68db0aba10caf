package compute

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of the launch form. A GB is a GiB.
const (
	LaunchMaxName        = 75 // Unicode code points
	LaunchMinCPUs        = 1
	LaunchMaxCPUs        = 8
	LaunchMinMemoryGB    = 4
	LaunchMaxMemoryGB    = 256
	LaunchMinDiskGB      = 10
	LaunchMaxDiskGB      = 128
	LaunchMinGPUs        = 0
	LaunchMaxGPUs        = 8
	LaunchMinNetworkMbps = 128
	LaunchMaxNetworkMbps = 2000
)

// Profile is the policy of a launch form: what a person may ask for, what is
// filled in beforehand, and named sizes to choose from. A configuration can
// give groups of users a profile of their own.
type Profile struct {
	Name     string    `json:"name"`
	MaxName  int       `json:"maxName"` // code points of a container's name; 0 is LaunchMaxName
	Limits   Limits    `json:"limits"`
	Defaults Resources `json:"defaults"` // within Limits
	Presets  []Preset  `json:"presets,omitempty"`
}

// Preset is a named size.
type Preset struct {
	Name      string    `json:"name"`  // "small"
	Title     string    `json:"title"` // "Small: 1 CPU, 4 GB"
	Resources Resources `json:"resources"`
}

// Launch is what a launch form asks for.
type Launch struct {
	Name      string    `json:"name"`
	Resources Resources `json:"resources"`
	Env       string    `json:"env,omitempty"` // one NAME=value per line, see ParseEnv
}

// LaunchProfile returns the profile that holds where no other is configured.
func LaunchProfile() Profile {
	size := func(cpus, memoryGB, diskGB, mbps int64) Resources {
		return Resources{CPUMilli: cpus * 1000, MemoryBytes: memoryGB * GiB, DiskBytes: diskGB * GiB, NetworkMbps: mbps}
	}
	return Profile{
		Name:    "default",
		MaxName: LaunchMaxName,
		Limits: Limits{
			CPUMilli:    Range{LaunchMinCPUs * 1000, LaunchMaxCPUs * 1000},
			MemoryBytes: Range{LaunchMinMemoryGB * GiB, LaunchMaxMemoryGB * GiB},
			DiskBytes:   Range{LaunchMinDiskGB * GiB, LaunchMaxDiskGB * GiB},
			GPUs:        Range{LaunchMinGPUs, LaunchMaxGPUs},
			NetworkMbps: Range{LaunchMinNetworkMbps, LaunchMaxNetworkMbps},
			PIDs:        Range{EngineMinPIDs, EngineMaxPIDs},
		},
		Defaults: size(1, 4, 10, 128),
		Presets: []Preset{
			{Name: "small", Title: "Small: 1 CPU, 4 GB", Resources: size(1, 4, 10, 128)},
			{Name: "standard", Title: "Standard: 4 CPUs, 32 GB", Resources: size(4, 32, 32, 256)},
			{Name: "large", Title: "Large: 8 CPUs, 128 GB", Resources: size(8, 128, 128, 1000)},
		},
	}
}

// Validate returns every violation of the profile, by the fields name,
// resources.cpuMilli and so on, and env; none is nil.
func (p Profile) Validate(l Launch) Violations {
	var found Violations
	most := p.MaxName
	if most == 0 {
		most = LaunchMaxName
	}
	switch n := utf8.RuneCountInString(l.Name); {
	case strings.TrimSpace(l.Name) == "":
		found.Add("name", "a name is needed")
	case !utf8.ValidString(l.Name) || strings.ContainsFunc(l.Name, unicode.IsControl):
		found.Add("name", "it holds a control character or is not UTF-8")
	case n > most:
		found.Add("name", "%d characters are above the maximum of %d", n, most)
	}
	found = append(found, l.Resources.Validate(p.Limits).Under("resources")...)
	_, wrong := ParseEnv(l.Env)
	return append(found, wrong...)
}

// Fit returns a size brought within the profile's limits.
func (p Profile) Fit(r Resources) Resources {
	for _, one := range []struct {
		value *int64
		limit Range
	}{
		{&r.CPUMilli, p.Limits.CPUMilli},
		{&r.MemoryBytes, p.Limits.MemoryBytes},
		{&r.DiskBytes, p.Limits.DiskBytes},
		{&r.GPUs, p.Limits.GPUs},
		{&r.NetworkMbps, p.Limits.NetworkMbps},
	} {
		*one.value = min(max(*one.value, one.limit.Min), one.limit.Max)
	}
	return r
}

// Preset returns the preset of a name.
func (p Profile) Preset(name string) (Preset, bool) {
	i := slices.IndexFunc(p.Presets, func(one Preset) bool { return one.Name == name })
	if i < 0 {
		return Preset{}, false
	}
	return p.Presets[i], true
}
