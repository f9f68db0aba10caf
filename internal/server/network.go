package server

import (
	"bufio"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"

	"quire/internal/compute"
	"quire/internal/problem"
)

// What containers reach, as the configuration names it.
const (
	networkAuto     = "auto"
	networkNone     = "none"
	networkInternet = "internet"
	networkHost     = "host"
)

// inner are the addresses that are not the internet's: of this machine, of
// private networks, of links, where clouds keep their metadata, and of groups.
var inner = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
}

// validateNetwork checks what containers may reach.
func (c *Config) validateNetwork() (wrong []string) {
	if len(c.Network) == 0 {
		c.Network = []string{networkAuto}
	}
	for _, one := range c.Network {
		switch one {
		case networkAuto, networkNone, networkHost:
			if len(c.Network) > 1 {
				wrong = append(wrong, "network: "+one+" stands alone")
			}
		case networkInternet:
		default:
			if p, err := parseNetwork(one); err != nil || p != p.Masked() {
				wrong = append(wrong, "network: "+one+": want auto, none, internet, host, an address, or a network as 10.1.0.0/16")
			}
		}
	}
	return wrong
}

func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// networkPolicy is what containers reach whose job says nothing else. auto is
// the internet where the driver keeps the rest out of reach, the host's network
// for an ordinary user, who can have no other, and else none.
func (s *Server) networkPolicy(ctx context.Context) (compute.NetworkPolicy, error) {
	if s.cfg.Compute != computeAuto && s.cfg.Compute != computeLocal {
		return s.distantPolicy()
	}
	probe, err := s.driver.Probe(ctx)
	if err != nil {
		return compute.NetworkPolicy{}, problem.Wrap(err, "asking what containers can have here")
	}
	filtered := probe.Support[compute.Egress].Level == compute.Enforced
	want := s.cfg.Network
	if slices.Contains(want, networkAuto) {
		switch {
		case probe.Driver != computeLocal:
			return compute.NetworkPolicy{}, nil
		case filtered:
			want = []string{networkInternet}
		case os.Geteuid() != 0:
			want = []string{networkHost}
		default:
			s.log.LogAttrs(ctx, slog.LevelWarn, "containers have no network", slog.String("reason", probe.Support[compute.Egress].Reason))
			return compute.NetworkPolicy{}, nil
		}
	}
	switch {
	case slices.Contains(want, networkNone):
		return compute.NetworkPolicy{}, nil
	case slices.Contains(want, networkHost):
		return compute.NetworkPolicy{Mode: compute.NetworkHost}, nil
	case !filtered && probe.Driver == computeLocal:
		return compute.NetworkPolicy{}, problem.New(problem.Invalid, "network: containers can have no network of their own here: %s; choose none or host", probe.Support[compute.Egress].Reason)
	}
	return named(want)
}

// distantPolicy is what containers of another driver reach: its own choice,
// where the configuration makes none. The place may not answer yet.
func (s *Server) distantPolicy() (compute.NetworkPolicy, error) {
	want := s.cfg.Network
	switch {
	case slices.Contains(want, networkAuto), slices.Contains(want, networkNone):
		return compute.NetworkPolicy{}, nil
	case slices.Contains(want, networkHost):
		return compute.NetworkPolicy{Mode: compute.NetworkHost}, nil
	}
	return named(want)
}

// named is a network of a container's own, from which it reaches what is named.
func named(want []string) (compute.NetworkPolicy, error) {
	policy := compute.NetworkPolicy{Mode: compute.NetworkPrivate}
	for _, one := range want {
		if one == networkInternet {
			policy.Allow = append(policy.Allow, internet()...)
			policy.Allow = append(policy.Allow, resolvers("/etc/resolv.conf")...)
			continue
		}
		p, err := parseNetwork(one)
		if err != nil {
			return policy, problem.New(problem.Invalid, "network: %s is not a network", one)
		}
		policy.Allow = append(policy.Allow, p)
	}
	return policy, nil
}

// internet returns the networks that are left of IPv4 without inner ones.
func internet() []netip.Prefix {
	left := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	for _, text := range inner {
		out := netip.MustParsePrefix(text)
		var next []netip.Prefix
		for _, p := range left {
			next = append(next, without(p, out)...)
		}
		left = next
	}
	return left
}

// without returns the parts of a network that are not in out.
func without(p, out netip.Prefix) []netip.Prefix {
	switch {
	case !p.Overlaps(out):
		return []netip.Prefix{p}
	case p.Bits() >= out.Bits():
		return nil
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	bytes := p.Addr().As4()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	high := netip.PrefixFrom(netip.AddrFrom4(bytes), p.Bits()+1)
	return append(without(low, out), without(high, out)...)
}

// resolvers returns the addresses that names are asked at, so that they can be
// found from inside: those of other machines.
func resolvers(file string) (all []netip.Prefix) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		if err == nil && addr.Is4() && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() {
			all = append(all, netip.PrefixFrom(addr, 32))
		}
	}
	return all
}
