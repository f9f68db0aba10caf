package job

import (
	"fmt"
	"slices"
	"sync"

	"quire/internal/compute"
)

// A Group is a capacity group: what all live containers of its jobs may have
// together. A resource of Instance that is 0 is without limit.
type Group struct {
	Name     string            `json:"appName"`
	Tier     string            `json:"tier"` // Critical or Flex; "" is Flex. For people: all groups share one machine
	Instance compute.Resources `json:"instance"`
	Count    int               `json:"instanceCount"` // the group has Count times Instance; at least 1
}

// total is what the group may use.
func (g Group) total() compute.Resources {
	n := int64(max(g.Count, 1))
	r := g.Instance
	return compute.Resources{
		CPUMilli: r.CPUMilli * n, MemoryBytes: r.MemoryBytes * n, DiskBytes: r.DiskBytes * n,
		GPUs: r.GPUs * n, NetworkMbps: r.NetworkMbps * n, PIDs: r.PIDs * n,
	}
}

// dimensions are the resources that a group counts.
var dimensions = []struct {
	resource compute.Resource
	of       func(*compute.Resources) *int64
	text     func(int64) string
}{
	{compute.CPU, func(r *compute.Resources) *int64 { return &r.CPUMilli }, compute.FormatCPU},
	{compute.Memory, func(r *compute.Resources) *int64 { return &r.MemoryBytes }, func(n int64) string { return compute.FormatBytes(n) + " of memory" }},
	{compute.Disk, func(r *compute.Resources) *int64 { return &r.DiskBytes }, func(n int64) string { return compute.FormatBytes(n) + " of disk" }},
	{compute.GPU, func(r *compute.Resources) *int64 { return &r.GPUs }, func(n int64) string { return fmt.Sprintf("%d GPUs", n) }},
	{compute.Network, func(r *compute.Resources) *int64 { return &r.NetworkMbps }, func(n int64) string { return fmt.Sprintf("%d Mbps", n) }},
}

// validate says where a container is larger than the group's largest.
func (g Group) validate(size compute.Resources, v *compute.Violations) {
	for _, d := range dimensions {
		if most := *d.of(&g.Instance); most > 0 && *d.of(&size) > most {
			v.Add("container.resources."+fieldOf[d.resource], "%s is above what a container of capacity group %s may have, %s",
				d.text(*d.of(&size)), g.Name, d.text(most))
		}
	}
}

// A pool is what capacity groups give out. Within a group whoever came first
// gets first: nobody who asks for much waits for ever. It is safe for
// concurrent use.
type pool struct {
	mu     sync.Mutex
	groups map[string]*share
}

type share struct {
	Group
	used  compute.Resources
	queue []*ticket
}

// A ticket is a place in a group, or in the queue for one.
type ticket struct {
	share *share
	need  compute.Resources
	ready chan struct{} // closed when there is room
	given bool
	over  bool
}

func newPool(groups []Group) *pool {
	p := &pool{groups: map[string]*share{DefaultGroup: {Group: Group{Name: DefaultGroup}}}}
	for _, g := range groups {
		p.groups[g.Name] = &share{Group: g}
	}
	return p
}

// group returns a group by its name.
func (p *pool) group(name string) (Group, bool) {
	s, ok := p.groups[name]
	if !ok {
		return Group{}, false
	}
	return s.Group, true
}

// ask takes a place in the group, or in its queue: then why says what it waits
// for. With force it takes a place whether there is room or not. The caller
// gives the ticket back.
func (p *pool) ask(name string, need compute.Resources, force bool) (t *ticket, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.groups[name]
	if !ok { // it was taken out of the configuration
		s = &share{Group: Group{Name: name}}
		p.groups[name] = s
	}
	t = &ticket{share: s, need: need, ready: make(chan struct{})}
	if force || len(s.queue) == 0 && s.lacks(need) == "" {
		t.give()
		return t, ""
	}
	why = s.lacks(need)
	if why == "" {
		why = "others came first"
	}
	if n := len(s.queue); n > 0 {
		why += fmt.Sprintf("; %d wait before it", n)
	}
	s.queue = append(s.queue, t)
	return t, fmt.Sprintf("it waits for room in capacity group %s: %s", s.Name, why)
}

// lacks says what there is too little of, or "".
func (s *share) lacks(need compute.Resources) string {
	total := s.total()
	for _, d := range dimensions {
		all := *d.of(&total)
		if used, more := *d.of(&s.used), *d.of(&need); all > 0 && used+more > all {
			return fmt.Sprintf("%s of %s are in use, it needs %s", d.text(used), d.text(all), d.text(more))
		}
	}
	return ""
}

func (t *ticket) give() {
	for _, d := range dimensions {
		*d.of(&t.share.used) += *d.of(&t.need)
	}
	t.given = true
	close(t.ready)
}

// back gives a ticket back. Twice is no error.
func (p *pool) back(t *ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t == nil || t.over {
		return
	}
	t.over = true
	s := t.share
	if t.given {
		for _, d := range dimensions {
			*d.of(&s.used) -= *d.of(&t.need)
		}
	} else {
		s.queue = slices.DeleteFunc(s.queue, func(other *ticket) bool { return other == t })
	}
	for len(s.queue) > 0 && s.lacks(s.queue[0].need) == "" {
		s.queue[0].give()
		s.queue = s.queue[1:]
	}
}

// A GroupUse is a capacity group and what its live containers have.
type GroupUse struct {
	Group
	Total   compute.Resources `json:"total"`
	Used    compute.Resources `json:"used"`
	Waiting int               `json:"waiting"` // tasks that wait for room
}

// uses returns all groups, by name.
func (p *pool) uses() []GroupUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []GroupUse
	for _, name := range sortedKeys(p.groups) {
		s := p.groups[name]
		all = append(all, GroupUse{Group: s.Group, Total: s.total(), Used: s.used, Waiting: len(s.queue)})
	}
	return all
}
