package job

import (
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"quire/internal/compute"
)

// Limits of a descriptor.
const (
	MaxBatchSize        = 1000
	MaxServiceSize      = 2500
	DefaultRuntimeLimit = 432_000 // seconds: 5 days
	MaxRuntimeLimit     = 864_000 // seconds: 10 days
	DefaultShmMB        = 64
	MaxRetries          = 1000
	MaxDelay            = 24 * 3600 * 1000 // milliseconds between two tries
	MaxAttributes       = 200
	MaxAttributeBytes   = 4096
	maxEntryPoint       = 16 << 10
	maxSecurityGroups   = 6
)

// DefaultGroup is the capacity group of a job that names none.
const DefaultGroup = "DEFAULT"

// The forms of names. Their repeats are counted, which makes them slow to compile:
// that is done for the first descriptor, not at the start of every command.
var (
	emailForm   = form(`^[^@\s]{1,64}@[^@\s]{1,190}$`)
	imageForm   = form(`^[a-zA-Z0-9./_\-]{1,255}$`)
	tagForm     = form(`^[a-zA-Z0-9._-]{1,128}$`)
	digestForm  = form(`^[a-z0-9]+:[0-9a-fA-F]{32,128}$`)
	groupForm   = form(`^[a-zA-Z0-9._-]{0,75}$`)
	secGroupFor = form(`^sg-[a-zA-Z0-9_-]{1,100}$`)
)

func form(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

var networkModes = []string{"", "UnknownNetworkMode", "Ipv4Only", "Ipv6AndIpv4", "Ipv6AndIpv4Fallback", "Ipv6Only", "HighScale"}

// constraintNames are Titus's, in lower case.
var constraintNames = []string{
	"uniquehost", "exclusivehost", "zonebalance", "activehost", "availabilityzone", "machineid", "machinegroup",
	"machinetype", "kubebackend", "cpumodel", "toleration",
}

// WithDefaults returns the descriptor with what it leaves out filled in: sizes
// from the profile, and Titus's own defaults.
func (d Descriptor) WithDefaults(p compute.Profile) Descriptor {
	d = d.clone()
	r := &d.Container.Resources
	if r.CPU == 0 {
		r.CPU = Double(p.Defaults.CPUMilli) / 1000
	}
	for _, c := range []struct {
		field *Count
		value int64
	}{
		{&r.MemoryMB, p.Defaults.MemoryBytes / compute.MiB},
		{&r.DiskMB, p.Defaults.DiskBytes / compute.MiB},
		{&r.NetworkMbps, p.Defaults.NetworkMbps},
	} {
		if *c.field == 0 {
			*c.field = Count(min(max(c.value, 0), math.MaxUint32))
		}
	}
	if r.ShmSizeMB == 0 {
		r.ShmSizeMB = min(DefaultShmMB, r.MemoryMB)
	}
	if d.CapacityGroup == "" {
		d.CapacityGroup = DefaultGroup
	}
	if d.Batch != nil {
		batch := *d.Batch
		if batch.Size == 0 {
			batch.Size = 1
		}
		if batch.RuntimeLimitSec == 0 {
			batch.RuntimeLimitSec = DefaultRuntimeLimit
		}
		d.Batch = &batch
	}
	if d.Service != nil && d.Service.Enabled == nil {
		on := true
		d.Service.Enabled = &on
	}
	return d
}

// Size returns the container's size as drivers take it.
func (r ContainerResources) Size() compute.Resources {
	milli := math.Round(float64(r.CPU) * 1000)
	if milli < math.MinInt32 || milli > math.MaxInt32 {
		milli = math.MaxInt32
	}
	return compute.Resources{
		CPUMilli: int64(milli), MemoryBytes: int64(r.MemoryMB) * compute.MiB, DiskBytes: int64(r.DiskMB) * compute.MiB,
		GPUs: int64(r.GPU), NetworkMbps: int64(r.NetworkMbps),
	}
}

// Validate returns everything that is wrong with a descriptor whose defaults
// are filled in, by field: what the engine cannot do and what the profile does
// not allow. The profile's limits are the narrower ones: where both are
// broken, the profile's is said.
func (d Descriptor) Validate(p compute.Profile) compute.Violations {
	var v compute.Violations
	d.validateNames(p, &v)
	d.Container.validate(p, &v)
	switch {
	case d.Batch == nil && d.Service == nil:
		v.Add("batch", "a job is either batch or service: one of them is needed")
	case d.Batch != nil && d.Service != nil:
		v.Add("service", "a job is either batch or service, not both")
	}
	if d.Batch != nil {
		d.Batch.validate(&v)
	}
	if d.Service != nil {
		d.Service.validate(&v)
	}
	if d.DisruptionBudget != nil {
		d.DisruptionBudget.validate(d.Batch, &v)
	}
	if !slices.Contains(networkModes, d.NetworkConfiguration.NetworkMode) {
		v.Add("networkConfiguration.networkMode", "want one of %s", strings.Join(networkModes[1:], ", "))
	}
	for _, c := range []struct {
		field string
		given bool
	}{
		{"extraContainers", len(d.ExtraContainers) > 0},
		{"volumes", len(d.Volumes) > 0},
		{"platformSidecars", len(d.PlatformSidecars) > 0},
		{"container.volumeMounts", len(d.Container.VolumeMounts) > 0},
		{"container.resources.signedAddressAllocations", len(d.Container.Resources.SignedAddressAllocations) > 0},
		{"container.resources.staticIPAddressIDs", len(d.Container.Resources.StaticIPAddressIDs) > 0},
	} {
		if c.given {
			v.Add(c.field, "this is not supported here: leave it out")
		}
	}
	return v
}

func (d Descriptor) validateNames(p compute.Profile, v *compute.Violations) {
	most := p.MaxName
	if most == 0 {
		most = compute.LaunchMaxName
	}
	switch n := utf8.RuneCountInString(d.ApplicationName); {
	case strings.TrimSpace(d.ApplicationName) == "":
		v.Add("applicationName", "a name is needed")
	case !plain(d.ApplicationName):
		v.Add("applicationName", "it holds a control character or is not UTF-8")
	case n > most:
		v.Add("applicationName", "%d characters are above the maximum of %d", n, most)
	}
	if d.Owner.TeamEmail != "" && !emailForm().MatchString(d.Owner.TeamEmail) {
		v.Add("owner.teamEmail", "it is not an email address")
	}
	for _, c := range []struct{ field, value string }{
		{"capacityGroup", d.CapacityGroup},
		{"jobGroupInfo.stack", d.JobGroupInfo.Stack},
		{"jobGroupInfo.detail", d.JobGroupInfo.Detail},
		{"jobGroupInfo.sequence", d.JobGroupInfo.Sequence},
	} {
		if !groupForm().MatchString(c.value) {
			v.Add(c.field, "want at most 75 letters, digits, and . _ -")
		}
	}
	validateAttributes("attributes", d.Attributes, "titus", v)
}

func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// validateAttributes checks attributes; names that start with reserved, in any
// case, are the platform's.
func validateAttributes(field string, all map[string]string, reserved string, v *compute.Violations) {
	if len(all) > MaxAttributes {
		v.Add(field, "%d are above the maximum of %d", len(all), MaxAttributes)
		return
	}
	for _, name := range sortedKeys(all) {
		switch {
		case strings.TrimSpace(name) == "" || !plain(name):
			v.Add(field, "a name is empty, or holds a control character")
		case len(name)+len(all[name]) > MaxAttributeBytes || !utf8.ValidString(all[name]):
			v.Add(under(field, name), "with its name it is longer than %d bytes, or not UTF-8", MaxAttributeBytes)
		case strings.HasPrefix(strings.ToLower(name), reserved):
			v.Add(under(field, name), "names that start with %q are reserved", reserved)
		}
	}
}

func (c Container) validate(p compute.Profile, v *compute.Violations) {
	c.validateResources(p, v)
	c.validateImage(v)
	argv := c.argv()
	size := 0
	for _, arg := range c.EntryPoint {
		size += len(arg)
	}
	if size > maxEntryPoint {
		v.Add("container.entryPoint", "it has %d bytes, above the maximum of %d", size, maxEntryPoint)
	}
	if len(argv) == 0 && c.Image.Name == "" {
		v.Add("container.entryPoint", "without an image there is nothing to execute: name a command")
	}
	for _, wrong := range compute.ValidateEnv(c.Env) {
		v.Add("container."+wrong.Field, "%s", wrong.Message)
	}
	validateAttributes("container.attributes", c.Attributes, "titus.", v)
	if s := c.SecurityProfile; s != nil {
		s.validate(v)
	}
	c.SoftConstraints.validate("container.softConstraints", v)
	c.HardConstraints.validate("container.hardConstraints", v)
}

// fieldOf names the resources as a descriptor does.
var fieldOf = map[compute.Resource]string{
	compute.CPU: "cpu", compute.Memory: "memoryMB", compute.Disk: "diskMB", compute.GPU: "gpu", compute.Network: "networkMbps",
}

func (c Container) validateResources(p compute.Profile, v *compute.Violations) {
	r := c.Resources
	size := r.Size()
	said := map[string]bool{}
	for _, wrong := range slices.Concat(size.Validate(p.Limits), size.Validate(compute.EngineLimits())) {
		field := fieldOf[compute.Resource(wrong.Field)]
		if !said[field] {
			said[field] = true
			v.Add("container.resources."+field, "%s", wrong.Message)
		}
	}
	if r.CPU < 0 && !said["cpu"] {
		v.Add("container.resources.cpu", "it is below 0")
	}
	if r.ShmSizeMB > r.MemoryMB {
		v.Add("container.resources.shmSizeMB", "%d MB are above the container's memory of %d MB", r.ShmSizeMB, r.MemoryMB)
	}
	points := map[string]bool{}
	for i, m := range r.EFSMounts {
		field := "container.resources.efsMounts[" + strconv.Itoa(i) + "]"
		m.validate(field, v)
		if points[m.MountPoint] {
			v.Add(field+".mountPoint", "it is mounted twice")
		}
		points[m.MountPoint] = true
	}
}

func (m Mount) validate(field string, v *compute.Violations) {
	if m.EFSID != VolumeID {
		v.Add(field+".efsId", "want %q: there is one volume", VolumeID)
	}
	if !path.IsAbs(m.MountPoint) || path.Clean(m.MountPoint) != m.MountPoint || m.MountPoint == "/" || !plain(m.MountPoint) {
		v.Add(field+".mountPoint", "want an absolute, clean path below /")
	}
	for _, top := range []string{"/proc", "/sys", "/dev"} {
		if m.MountPoint == top || strings.HasPrefix(m.MountPoint, top+"/") {
			v.Add(field+".mountPoint", "it is below %s", top)
		}
	}
	switch m.MountPerm {
	case "", "RW", "RO":
	case "WO":
		v.Add(field+".mountPerm", "WO is not supported here: want RO or RW")
	default:
		v.Add(field+".mountPerm", "want RO or RW")
	}
	if _, _, ok := m.workspace(); !ok && m.EFSRelativeMountPoint != "" {
		v.Add(field+".efsRelativeMountPoint", "want users/<name> or shared")
	}
}

var workspaceName = regexp.MustCompile(`^users/([a-z0-9][a-z0-9_-]{0,62})$`)

// workspace returns the folder of the volume that is mounted, and whose it is;
// "" is everybody's.
func (m Mount) workspace() (folder, owner string, ok bool) {
	if m.EFSRelativeMountPoint == "shared" {
		return "shared", "", true
	}
	found := workspaceName.FindStringSubmatch(m.EFSRelativeMountPoint)
	if found == nil {
		return "", "", false
	}
	return found[0], found[1], true
}

func (c Container) validateImage(v *compute.Violations) {
	i := c.Image
	if i == (Image{}) {
		return
	}
	if !imageForm().MatchString(i.Name) || strings.HasPrefix(i.Name, "-") {
		v.Add("container.image.name", "want 1 to 255 letters, digits, and . / _ -")
	}
	switch {
	case i.Tag == "" && i.Digest == "":
		v.Add("container.image.tag", "a tag or a digest is needed")
	case i.Tag != "" && i.Digest != "":
		v.Add("container.image.tag", "a tag or a digest, not both")
	case i.Tag != "" && !tagForm().MatchString(i.Tag):
		v.Add("container.image.tag", "want 1 to 128 letters, digits, and . _ -")
	case i.Digest != "" && !digestForm().MatchString(i.Digest):
		v.Add("container.image.digest", "want ALGORITHM:HEX with 32 digits or more")
	}
}

func (s *SecurityProfile) validate(v *compute.Violations) {
	if len(s.SecurityGroups) > maxSecurityGroups {
		v.Add("container.securityProfile.securityGroups", "%d are above the maximum of %d", len(s.SecurityGroups), maxSecurityGroups)
	}
	for i, g := range s.SecurityGroups {
		if !secGroupFor().MatchString(g) {
			v.Add("container.securityProfile.securityGroups["+strconv.Itoa(i)+"]", "want sg-...")
		}
	}
	if strings.ContainsAny(s.IAMRole, " \t\r\n") || len(s.IAMRole) > 512 {
		v.Add("container.securityProfile.iamRole", "it holds spaces, or is longer than 512 bytes")
	}
	validateAttributes("container.securityProfile.attributes", s.Attributes, "titus.", v)
}

func (c *Constraints) validate(field string, v *compute.Violations) {
	if c == nil {
		return
	}
	if c.Expression != "" {
		v.Add(field+".expression", "expressions are not supported")
	}
	for _, name := range sortedKeys(c.Constraints) {
		if !slices.Contains(constraintNames, strings.ToLower(name)) {
			v.Add(under(field+".constraints", name), "there is no such constraint")
		}
	}
}

func (b *Batch) validate(v *compute.Violations) {
	if b.Size < 1 || b.Size > MaxBatchSize {
		v.Add("batch.size", "%d is not within 1 and %d", b.Size, MaxBatchSize)
	}
	if b.RuntimeLimitSec > MaxRuntimeLimit {
		v.Add("batch.runtimeLimitSec", "%d is above the maximum of %d", b.RuntimeLimitSec, MaxRuntimeLimit)
	}
	b.RetryPolicy.validate("batch.retryPolicy", v)
}

func (s *Service) validate(v *compute.Violations) {
	s.Capacity.validate("service.capacity", v)
	s.RetryPolicy.validate("service.retryPolicy", v)
	if m := s.MigrationPolicy; m != nil && m.SystemDefault != nil && m.SelfManaged != nil {
		v.Add("service.migrationPolicy", "one of systemDefault and selfManaged, not both")
	}
}

func (c Capacity) validate(field string, v *compute.Violations) {
	if c.Min > c.Desired {
		v.Add(field+".desired", "%d is below min, %d", c.Desired, c.Min)
	}
	if c.Desired > c.Max {
		v.Add(field+".desired", "%d is above max, %d", c.Desired, c.Max)
	}
	if c.Max > MaxServiceSize {
		v.Add(field+".max", "%d is above the maximum of %d", c.Max, MaxServiceSize)
	}
}

func (r *RetryPolicy) validate(field string, v *compute.Violations) {
	if r == nil {
		return
	}
	kinds := 0
	check := func(kind string, retries Count, delays ...Long) {
		kinds++
		if retries > MaxRetries {
			v.Add(field+"."+kind+".retries", "%d is above the maximum of %d", retries, MaxRetries)
		}
		for _, d := range delays {
			if d > MaxDelay {
				v.Add(field+"."+kind, "a delay of %d ms is above the maximum of %d", d, MaxDelay)
				break
			}
		}
	}
	if r.Immediate != nil {
		check("immediate", r.Immediate.Retries)
	}
	if r.Delayed != nil {
		check("delayed", r.Delayed.Retries, r.Delayed.InitialDelayMs, r.Delayed.DelayMs)
	}
	if r.ExponentialBackOff != nil {
		check("exponentialBackOff", r.ExponentialBackOff.Retries, r.ExponentialBackOff.InitialDelayMs, r.ExponentialBackOff.MaxDelayIntervalMs)
	}
	if kinds > 1 {
		v.Add(field, "one of immediate, delayed and exponentialBackOff, not %d of them", kinds)
	}
}

func (b *DisruptionBudget) validate(batch *Batch, v *compute.Violations) {
	const field = "disruptionBudget"
	if n := countTrue(b.SelfManaged != nil, b.AvailabilityPercentageLimit != nil, b.UnhealthyTasksLimit != nil, b.RelocationLimit != nil); n != 1 {
		v.Add(field, "it has %d policies: one of selfManaged, availabilityPercentageLimit, unhealthyTasksLimit and relocationLimit is needed", n)
	}
	if n := countTrue(b.RateUnlimited != nil, b.RatePercentagePerHour != nil, b.RatePerInterval != nil, b.RatePercentagePerInterval != nil); n > 1 {
		v.Add(field, "it has %d rates: one is possible", n)
	}
	if b.RelocationLimit != nil && batch == nil {
		v.Add(field+".relocationLimit", "only a batch job has one")
	}
	if p := b.AvailabilityPercentageLimit; p != nil && !percentage(p.PercentageOfHealthyContainers) {
		v.Add(field+".availabilityPercentageLimit.percentageOfHealthyContainers", "it is not within 0 and 100")
	}
	if p := b.RatePercentagePerHour; p != nil && !percentage(p.MaxPercentageOfContainersRelocatedInHour) {
		v.Add(field+".ratePercentagePerHour.maxPercentageOfContainersRelocatedInHour", "it is not within 0 and 100")
	}
	if p := b.RatePercentagePerInterval; p != nil && !percentage(p.PercentageLimitPerInterval) {
		v.Add(field+".ratePercentagePerInterval.percentageLimitPerInterval", "it is not within 0 and 100")
	}
	days := []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
	for i, w := range b.TimeWindows {
		at := field + ".timeWindows[" + strconv.Itoa(i) + "]"
		for _, day := range w.Days {
			if !slices.Contains(days, day) {
				v.Add(at+".days", "want Monday to Sunday")
				break
			}
		}
		for _, h := range w.HourlyTimeWindows {
			if h.StartHour > 24 || h.EndHour > 24 || h.StartHour >= h.EndHour {
				v.Add(at+".hourlyTimeWindows", "want a startHour before an endHour, both within 0 and 24")
				break
			}
		}
	}
}

func percentage(p Double) bool { return p >= 0 && p <= 100 }

func countTrue(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
