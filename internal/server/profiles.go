package server

import (
	"fmt"
	"slices"
	"strings"

	"quire/internal/auth"
	"quire/internal/compute"
)

// everybody is the member that stands for all who are in no other profile.
const everybody = "*"

// A ProfileConfig is the launch form of some people: what they may ask for, what
// is filled in beforehand, and sizes to choose from. What is left out is as in the
// form of everybody else.
type ProfileConfig struct {
	// Members are the names of its users; "*" is everybody who is in no other.
	Members []string `yaml:"members"`
	// Groups are those of userGroups that have it. Who is in several profiles by
	// groups has the first of them by name; a member has the one that names them.
	Groups []string `yaml:"groups"`
	// MaxName is how many characters a container's name may have. Default 75.
	MaxName int `yaml:"maxName"`
	// Limits are the least and the most of each: cpus: [1, 16].
	Limits ProfileLimits `yaml:"limits"`
	// Defaults are the sizes that are filled in beforehand. Default: those of
	// everybody else, brought within Limits.
	Defaults SizeConfig `yaml:"defaults"`
	// Presets are named sizes. Default: those of everybody else that are within
	// Limits.
	Presets []PresetConfig `yaml:"presets"`
}

// ProfileLimits are the least and the most of each size, as [1, 16]. CPUs are
// processors, Memory and Disk GB, Network Mbps.
type ProfileLimits struct {
	CPUs        []int64 `yaml:"cpus"`
	MemoryGB    []int64 `yaml:"memoryGB"`
	DiskGB      []int64 `yaml:"diskGB"`
	GPUs        []int64 `yaml:"gpus"`
	NetworkMbps []int64 `yaml:"networkMbps"`
}

// A SizeConfig is the size of a container. What is 0 is left out.
type SizeConfig struct {
	CPUs        float64 `yaml:"cpus"`
	MemoryGB    int64   `yaml:"memoryGB"`
	DiskGB      int64   `yaml:"diskGB"`
	GPUs        int64   `yaml:"gpus"`
	NetworkMbps int64   `yaml:"networkMbps"`
}

// A PresetConfig is a named size.
type PresetConfig struct {
	Name       string `yaml:"name"`
	Title      string `yaml:"title"` // default: Name and the size
	SizeConfig `yaml:",inline"`
}

// over is the size with what it leaves out taken from another.
func (c SizeConfig) over(r compute.Resources) compute.Resources {
	for _, one := range []struct {
		set  bool
		to   *int64
		size int64
	}{
		{c.CPUs != 0, &r.CPUMilli, int64(c.CPUs * 1000)},
		{c.MemoryGB != 0, &r.MemoryBytes, c.MemoryGB * compute.GiB},
		{c.DiskGB != 0, &r.DiskBytes, c.DiskGB * compute.GiB},
		{c.GPUs != 0, &r.GPUs, c.GPUs},
		{c.NetworkMbps != 0, &r.NetworkMbps, c.NetworkMbps},
	} {
		if one.set {
			*one.to = one.size
		}
	}
	return r
}

// profile returns the launch profile of a name, with everything that is wrong
// with it.
func (c ProfileConfig) profile(name string) (p compute.Profile, wrong []string) {
	p = compute.LaunchProfile()
	general := p
	p.Name = name
	fault := func(format string, args ...any) {
		wrong = append(wrong, "profiles: "+name+": "+fmt.Sprintf(format, args...))
	}
	if c.MaxName != 0 {
		p.MaxName = c.MaxName
	}
	if p.MaxName < 1 || p.MaxName > compute.LaunchMaxName {
		fault("maxName: want 1 to %d", compute.LaunchMaxName)
	}
	engine := compute.EngineLimits()
	for _, one := range []struct {
		field  string
		given  []int64
		unit   int64
		limit  *compute.Range
		engine compute.Range
	}{
		{"cpus", c.Limits.CPUs, 1000, &p.Limits.CPUMilli, engine.CPUMilli},
		{"memoryGB", c.Limits.MemoryGB, compute.GiB, &p.Limits.MemoryBytes, engine.MemoryBytes},
		{"diskGB", c.Limits.DiskGB, compute.GiB, &p.Limits.DiskBytes, engine.DiskBytes},
		{"gpus", c.Limits.GPUs, 1, &p.Limits.GPUs, engine.GPUs},
		{"networkMbps", c.Limits.NetworkMbps, 1, &p.Limits.NetworkMbps, engine.NetworkMbps},
	} {
		if one.given == nil {
			continue
		}
		least, most := (one.engine.Min+one.unit-1)/one.unit, one.engine.Max/one.unit
		if len(one.given) != 2 || one.given[0] > one.given[1] || one.given[0] < least || one.given[1] > most {
			fault("limits.%s: want the least and the most, as [%d, %d], within %d and %d", one.field, one.limit.Min/one.unit, one.limit.Max/one.unit, least, most)
			continue
		}
		*one.limit = compute.Range{Min: one.given[0] * one.unit, Max: one.given[1] * one.unit}
	}
	if len(wrong) > 0 {
		return p, wrong
	}
	p.Defaults = c.Defaults.over(p.Fit(general.Defaults))
	for _, v := range p.Defaults.Validate(p.Limits) {
		fault("defaults.%s: %s", v.Field, v.Message)
	}
	p.Presets = slices.DeleteFunc(slices.Clone(general.Presets), func(one compute.Preset) bool { return p.Fit(one.Resources) != one.Resources })
	if c.Presets != nil {
		p.Presets = nil
	}
	for _, one := range c.Presets {
		preset := compute.Preset{Name: one.Name, Title: one.Title, Resources: one.over(p.Defaults)}
		if preset.Title == "" {
			preset.Title = one.Name + ": " + compute.FormatCPU(preset.Resources.CPUMilli) + ", " + compute.FormatBytes(preset.Resources.MemoryBytes)
		}
		if _, twice := p.Preset(one.Name); twice || !auth.ValidName(one.Name) {
			fault("presets: %.40q: want a name of its own, of lower-case letters, digits, - and _", one.Name)
		}
		for _, v := range preset.Resources.Validate(p.Limits) {
			fault("presets: %s: %s: %s", one.Name, v.Field, v.Message)
		}
		p.Presets = append(p.Presets, preset)
	}
	return p, wrong
}

// validateProfiles checks the launch profiles: nobody is in two.
func (c *Config) validateProfiles() (wrong []string) {
	in, group := map[string]string{}, map[string]string{}
	for _, name := range sortedNames(c.Profiles) {
		one := c.Profiles[name]
		if !auth.ValidName(strings.ToLower(name)) {
			wrong = append(wrong, "profiles: "+name+": want letters, digits, - and _")
		}
		if len(one.Members)+len(one.Groups) == 0 {
			wrong = append(wrong, "profiles: "+name+": members: name the users who have it, or \"*\" for everybody who has no other, or groups")
		}
		for _, of := range one.Groups {
			if unknown := c.unknownGroup(of); unknown != "" {
				wrong = append(wrong, "profiles: "+name+": "+unknown)
			}
			if other, ok := group[of]; ok {
				wrong = append(wrong, fmt.Sprintf("profiles: %s: groups: %s has %s already", name, of, other))
			}
			group[of] = name
		}
		for _, user := range one.Members {
			if user != everybody && !auth.ValidName(user) {
				wrong = append(wrong, fmt.Sprintf("profiles: %s: members: %.40q is no user's name", name, user))
			}
			if other, ok := in[user]; ok {
				wrong = append(wrong, fmt.Sprintf("profiles: %s: members: %s is in %s already", name, user, other))
			}
			in[user] = name
		}
		_, faults := one.profile(name)
		wrong = append(wrong, faults...)
	}
	return wrong
}

func sortedNames(all map[string]ProfileConfig) []string {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// profiles returns the launch profile of each user, for a configuration that is
// valid. groups returns the groups that a user is in; where they are not known,
// nobody has a profile by one.
func (c *Config) profiles(groups func(user string) []string) func(auth.User) compute.Profile {
	of, ofGroup := map[string]compute.Profile{}, map[string]compute.Profile{}
	for name, one := range c.Profiles {
		p, _ := one.profile(name)
		for _, user := range one.Members {
			of[user] = p
		}
		for _, group := range one.Groups {
			ofGroup[group] = p
		}
	}
	general, ok := of[everybody]
	if !ok {
		general = compute.LaunchProfile()
	}
	return func(u auth.User) compute.Profile {
		if p, ok := of[u.Name]; ok {
			return p
		}
		chosen := general
		if len(ofGroup) == 0 {
			return chosen
		}
		found := false
		for _, name := range groups(u.Name) {
			if p, ok := ofGroup[name]; ok && (!found || p.Name < chosen.Name) {
				chosen, found = p, true
			}
		}
		return chosen
	}
}
