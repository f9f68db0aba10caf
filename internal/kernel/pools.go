package kernel

import (
	"context"
	"sync"
)

// maxPools bounds the kernelspecs that have kernels waiting.
const maxPools = 4

// Pools are the started kernels that wait, a Pool for each kernelspec in use. It
// is safe for concurrent use; Close ends what waits.
type Pools struct {
	size int // of each pool; below 1 nothing waits

	mu     sync.Mutex
	pools  map[string]*Pool // by the directory of the spec
	closed bool
}

// NewPools returns Pools that keep size kernels waiting for each kernelspec, at
// most 8; below 1 none.
func NewPools(size int) *Pools { return &Pools{size: min(size, 8)} }

// Prepare begins to start waiting kernels of cfg's spec.
func (p *Pools) Prepare(cfg Config) {
	if p.size < 1 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pools[cfg.Spec.Dir] != nil || p.closed || len(p.pools) >= maxPools {
		return
	}
	pool, err := NewPool(cfg, p.size)
	if err != nil {
		return // the start that somebody waits for says why
	}
	if p.pools == nil {
		p.pools = map[string]*Pool{}
	}
	p.pools[cfg.Spec.Dir] = pool
}

// Get returns a kernel as cfg asks for, a waiting one when there is one. After
// the first of a kernelspec others begin to wait, which are as base asks for.
func (p *Pools) Get(ctx context.Context, cfg, base Config) (*Kernel, error) {
	p.mu.Lock()
	pool := p.pools[cfg.Spec.Dir]
	p.mu.Unlock()
	if pool != nil {
		return pool.Get(ctx, cfg)
	}
	k, err := Start(ctx, cfg)
	if err == nil {
		p.Prepare(base)
	}
	return k, err
}

// Close ends the waiting kernels. Kernels that were handed out are not touched.
func (p *Pools) Close() {
	p.mu.Lock()
	p.closed = true
	all := p.pools
	p.pools = nil
	p.mu.Unlock()
	for _, pool := range all {
		_ = pool.Close()
	}
}
