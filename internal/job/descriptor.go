package job

import (
	"maps"
	"strings"
)

// A Descriptor says what job is wanted. Its JSON is the protobuf JSON of
// Titus's JobDescriptor: lowerCamelCase, the member of a oneof under its own
// key, a zero value means not given.
type Descriptor struct {
	Owner           Owner             `json:"owner,omitzero"`
	ApplicationName string            `json:"applicationName"`         // the name that people see
	CapacityGroup   string            `json:"capacityGroup,omitempty"` // whose quota it counts against; "" is DefaultGroup
	JobGroupInfo    GroupInfo         `json:"jobGroupInfo,omitzero"`   // when set, no two active jobs have the same
	Attributes      map[string]string `json:"attributes,omitempty"`    // the user's own words; "titus..." is reserved
	Container       Container         `json:"container"`

	Batch   *Batch   `json:"batch,omitempty"`   // exactly one of Batch
	Service *Service `json:"service,omitempty"` // and Service is there

	DisruptionBudget     *DisruptionBudget    `json:"disruptionBudget,omitempty"` // kept and returned; nothing here evicts
	NetworkConfiguration NetworkConfiguration `json:"networkConfiguration,omitzero"`

	// Not supported; a descriptor that has them is refused.
	ExtraContainers  []Unsupported `json:"extraContainers,omitempty"`
	Volumes          []Unsupported `json:"volumes,omitempty"`
	PlatformSidecars []Unsupported `json:"platformSidecars,omitempty"`
}

// Unsupported is a message that is recognised only to be refused by its name.
type Unsupported struct{}

// Owner is the team that answers for a job.
type Owner struct {
	TeamEmail string `json:"teamEmail,omitempty"`
}

// GroupInfo identifies a job among the active ones. The zero value does not.
type GroupInfo struct {
	Stack    string `json:"stack,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Sequence string `json:"sequence,omitempty"`
}

// Container is what each task of a job executes, and within what.
type Container struct {
	Resources       ContainerResources `json:"resources,omitzero"`
	SecurityProfile *SecurityProfile   `json:"securityProfile,omitempty"` // checked and kept; containers here have no cloud identity
	Image           Image              `json:"image,omitzero"`            // the zero value is the driver's own
	EntryPoint      []string           `json:"entryPoint,omitempty"`      // executed with Command behind it
	Command         []string           `json:"command,omitempty"`
	Env             map[string]string  `json:"env,omitempty"`
	Attributes      map[string]string  `json:"attributes,omitempty"` // "titus." is reserved
	SoftConstraints *Constraints       `json:"softConstraints,omitempty"`
	HardConstraints *Constraints       `json:"hardConstraints,omitempty"`
	VolumeMounts    []Unsupported      `json:"volumeMounts,omitempty"`
	Experimental    *Unsupported       `json:"experimental,omitempty"`
}

// ContainerResources is the size of a container. What is 0 is filled in from the
// profile, except GPUs.
type ContainerResources struct {
	CPU         Double  `json:"cpu,omitempty"` // processors
	GPU         Count   `json:"gpu,omitempty"` // devices
	MemoryMB    Count   `json:"memoryMB,omitempty"`
	DiskMB      Count   `json:"diskMB,omitempty"`
	NetworkMbps Count   `json:"networkMbps,omitempty"`
	ShmSizeMB   Count   `json:"shmSizeMB,omitempty"` // kept; the driver decides how large /dev/shm is
	EFSMounts   []Mount `json:"efsMounts,omitempty"`

	AllocateIP               bool          `json:"allocateIP,omitempty"` // has no effect
	SignedAddressAllocations []Unsupported `json:"signedAddressAllocations,omitempty"`
	StaticIPAddressIDs       []string      `json:"staticIPAddressIDs,omitempty"`
}

// Mount is a workspace inside the container. EFSID is VolumeID, and
// EFSRelativeMountPoint is "users/<name>" or "shared".
type Mount struct {
	EFSID                 string `json:"efsId"`
	MountPoint            string `json:"mountPoint"`                      // an absolute path inside
	MountPerm             string `json:"mountPerm,omitempty"`             // RO, RW or WO; "" is RW
	EFSRelativeMountPoint string `json:"efsRelativeMountPoint,omitempty"` // "" is the owner's workspace
}

// VolumeID is the efsId of Quire's volume.
const VolumeID = "quire"

// SecurityProfile is what Titus asks of cloud identities.
type SecurityProfile struct {
	SecurityGroups []string          `json:"securityGroups,omitempty"`
	IAMRole        string            `json:"iamRole,omitempty"`
	Attributes     map[string]string `json:"attributes,omitempty"`
}

// Image names an image. Digest or tag is there when Name is.
type Image struct {
	Name   string `json:"name,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// Reference returns the image as drivers take it: "name@sha256:..." or
// "name:tag"; "" for the zero value.
func (i Image) Reference() string {
	switch {
	case i.Name == "":
		return ""
	case i.Digest != "":
		return i.Name + "@" + i.Digest
	}
	return i.Name + ":" + i.Tag
}

// Constraints say where a container should or must run.
type Constraints struct {
	Constraints map[string]string `json:"constraints,omitempty"`
	Expression  string            `json:"expression,omitempty"`
}

// Batch is a job that ends when all its tasks have.
type Batch struct {
	Size                Count        `json:"size,omitempty"`            // tasks, 1 to MaxBatchSize; 0 is 1
	RuntimeLimitSec     Long         `json:"runtimeLimitSec,omitempty"` // of one try, from its start; 0 is DefaultRuntimeLimit
	RetryPolicy         *RetryPolicy `json:"retryPolicy,omitempty"`     // nil is no retry
	RetryOnRuntimeLimit bool         `json:"retryOnRuntimeLimit,omitempty"`
}

// Service is a job that keeps a number of tasks alive until it is killed.
type Service struct {
	Capacity            Capacity          `json:"capacity,omitzero"`
	Enabled             *bool             `json:"enabled,omitempty"` // kept; nil is true
	RetryPolicy         *RetryPolicy      `json:"retryPolicy,omitempty"`
	MigrationPolicy     *MigrationPolicy  `json:"migrationPolicy,omitempty"`
	ServiceJobProcesses *ServiceProcesses `json:"serviceJobProcesses,omitempty"`
}

// Capacity is how many tasks a service job has: Min <= Desired <= Max.
type Capacity struct {
	Min     Count `json:"min"`
	Desired Count `json:"desired"`
	Max     Count `json:"max"`
}

// MigrationPolicy is kept and returned.
type MigrationPolicy struct {
	SystemDefault *Empty `json:"systemDefault,omitempty"`
	SelfManaged   *Empty `json:"selfManaged,omitempty"`
}

// Empty is a message without fields.
type Empty struct{}

// ServiceProcesses stop changes of a service job's desired size.
type ServiceProcesses struct {
	DisableIncreaseDesired bool `json:"disableIncreaseDesired,omitempty"`
	DisableDecreaseDesired bool `json:"disableDecreaseDesired,omitempty"`
}

// RetryPolicy says how often and when a task that failed is tried again. Of its
// members one is there. For service jobs it shapes only the delay.
type RetryPolicy struct {
	Immediate          *Immediate          `json:"immediate,omitempty"`
	Delayed            *Delayed            `json:"delayed,omitempty"`
	ExponentialBackOff *ExponentialBackOff `json:"exponentialBackOff,omitempty"`
}

// Immediate tries again at once.
type Immediate struct {
	Retries Count `json:"retries,omitempty"`
}

// Delayed tries again after the same time each time.
type Delayed struct {
	InitialDelayMs Long  `json:"initialDelayMs,omitempty"` // before the first retry; 0 is DelayMs
	DelayMs        Long  `json:"delayMs,omitempty"`
	Retries        Count `json:"retries,omitempty"`
}

// ExponentialBackOff doubles the delay each time.
type ExponentialBackOff struct {
	InitialDelayMs     Long  `json:"initialDelayMs,omitempty"`
	MaxDelayIntervalMs Long  `json:"maxDelayIntervalMs,omitempty"`
	Retries            Count `json:"retries,omitempty"`
}

// NetworkConfiguration chooses addresses; kept and returned.
type NetworkConfiguration struct {
	NetworkMode string `json:"networkMode,omitempty"`
}

// DisruptionBudget says when the platform may move tasks. It is checked, kept
// and returned.
type DisruptionBudget struct {
	SelfManaged                 *SelfManaged                 `json:"selfManaged,omitempty"`
	AvailabilityPercentageLimit *AvailabilityPercentageLimit `json:"availabilityPercentageLimit,omitempty"`
	UnhealthyTasksLimit         *UnhealthyTasksLimit         `json:"unhealthyTasksLimit,omitempty"`
	RelocationLimit             *RelocationLimit             `json:"relocationLimit,omitempty"`

	RateUnlimited             *Empty                     `json:"rateUnlimited,omitempty"`
	RatePercentagePerHour     *RatePercentagePerHour     `json:"ratePercentagePerHour,omitempty"`
	RatePerInterval           *RatePerInterval           `json:"ratePerInterval,omitempty"`
	RatePercentagePerInterval *RatePercentagePerInterval `json:"ratePercentagePerInterval,omitempty"`

	TimeWindows              []TimeWindow     `json:"timeWindows,omitempty"`
	ContainerHealthProviders []HealthProvider `json:"containerHealthProviders,omitempty"`
}

// The members of a DisruptionBudget, as Titus has them.
type (
	SelfManaged struct {
		RelocationTimeMs Long `json:"relocationTimeMs,omitempty"`
	}
	AvailabilityPercentageLimit struct {
		PercentageOfHealthyContainers Double `json:"percentageOfHealthyContainers,omitempty"`
	}
	UnhealthyTasksLimit struct {
		LimitOfUnhealthyContainers Count `json:"limitOfUnhealthyContainers,omitempty"`
	}
	RelocationLimit struct {
		Limit Count `json:"limit,omitempty"`
	}
	RatePercentagePerHour struct {
		MaxPercentageOfContainersRelocatedInHour Double `json:"maxPercentageOfContainersRelocatedInHour,omitempty"`
	}
	RatePerInterval struct {
		IntervalMs       Long  `json:"intervalMs,omitempty"`
		LimitPerInterval Count `json:"limitPerInterval,omitempty"`
	}
	RatePercentagePerInterval struct {
		IntervalMs                 Long   `json:"intervalMs,omitempty"`
		PercentageLimitPerInterval Double `json:"percentageLimitPerInterval,omitempty"`
	}
	TimeWindow struct {
		Days              []string           `json:"days,omitempty"`
		HourlyTimeWindows []HourlyTimeWindow `json:"hourlyTimeWindows,omitempty"`
		TimeZone          string             `json:"timeZone,omitempty"`
	}
	HourlyTimeWindow struct {
		StartHour Count `json:"startHour,omitempty"`
		EndHour   Count `json:"endHour,omitempty"`
	}
	HealthProvider struct {
		Name       string            `json:"name,omitempty"`
		Attributes map[string]string `json:"attributes,omitempty"`
	}
)

// Key is what no two active jobs may share: "app-stack-detail-sequence"; "" when
// the job has no group.
func (d Descriptor) Key() string {
	if d.JobGroupInfo == (GroupInfo{}) {
		return ""
	}
	g := d.JobGroupInfo
	return strings.Join([]string{d.ApplicationName, g.Stack, g.Detail, g.Sequence}, "-")
}

// Group returns the capacity group that the job counts against.
func (d Descriptor) Group() string {
	if d.CapacityGroup == "" {
		return DefaultGroup
	}
	return d.CapacityGroup
}

// Type returns "batch" or "service".
func (d Descriptor) Type() string {
	if d.Service != nil {
		return "service"
	}
	return "batch"
}

// argv is what a container executes. [""] clears, as in Titus.
func (c Container) argv() []string {
	var argv []string
	for _, part := range [][]string{c.EntryPoint, c.Command} {
		if len(part) == 1 && part[0] == "" {
			continue
		}
		argv = append(argv, part...)
	}
	return argv
}

// clone returns a descriptor that shares no map with d.
func (d Descriptor) clone() Descriptor {
	d.Attributes = maps.Clone(d.Attributes)
	if d.Service != nil {
		service := *d.Service
		d.Service = &service
	}
	return d
}
