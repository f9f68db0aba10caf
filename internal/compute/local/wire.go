//go:build linux

package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/problem"
)

// wire is a container's private network: a pair of devices, one end on the
// host, and packet filter rules of its own.
type wire struct {
	Device string `json:"device"` // the end on the host
}

// newWire names the network of a container. The name fits a device's 15 bytes.
func newWire(id string) *wire {
	sum := sha256.Sum256([]byte(id))
	return &wire{Device: "qr" + hex.EncodeToString(sum[:6])}
}

// Containers' addresses: each has two of a block of four.
var wireBlock = netip.MustParsePrefix("10.201.0.0/16")

// wires serialises choosing a block.
var wires sync.Mutex

// privateNetwork says why containers cannot have private networks, or "".
func (i *isolation) privateNetwork() string {
	if !i.root {
		return "only root can connect a container's network to the host's"
	}
	if err := filterUsable(); err != nil {
		return "the packet filter of the kernel (nf_tables) does not answer: " + err.Error()
	}
	return ""
}

// connect makes the devices and the rules. The container does not run yet.
func (w *wire) connect(pid int, spec compute.Spec) error {
	if err := w.link(pid, spec.Resources.NetworkMbps, spec.Network.Allow); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "connecting the container's network")
	}
	return nil
}

func (w *wire) link(pid int, mbps int64, allow []netip.Prefix) error {
	// The rules come first: there is no moment without them.
	if err := filterOn(w.Device, allow); err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	wires.Lock()
	defer wires.Unlock()
	ours, theirs, err := freeBlock(w.Device)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = w.Device
	const peer = "eth0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerNamespace: netlink.NsPid(pid)}); err != nil {
		return fmt.Errorf("making the devices: %w", err)
	}
	host, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer host.Close()
	if err := setUp(host, w.Device, ours, mbps); err != nil {
		return err
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	inner, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer inner.Close()
	if err := setUp(inner, peer, theirs, mbps); err != nil {
		return err
	}
	if err := inner.RouteAdd(&netlink.Route{Gw: net.IP(ours.AsSlice())}); err != nil {
		return fmt.Errorf("setting the route: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	return nil
}

// freeBlock chooses addresses that no device of the host has.
func freeBlock(device string) (ours, theirs netip.Addr, err error) {
	used, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return ours, theirs, err
	}
	sum := sha256.Sum256([]byte(device))
	first := int(sum[0])<<8 | int(sum[1])
	const blocks = 1 << 14
	base := wireBlock.Addr().As4()
	for n := range blocks {
		at := (first + n) % blocks * 4
		ours = netip.AddrFrom4([4]byte{base[0], base[1], byte(at >> 8), byte(at&0xff) + 1})
		taken := slices.ContainsFunc(used, func(a netlink.Addr) bool { return a.IP.Equal(net.IP(ours.AsSlice())) })
		if !taken {
			return ours, ours.Next(), nil
		}
	}
	return ours, theirs, errors.New("all addresses for containers are taken")
}

// setUp gives one end its address and its limit.
func setUp(h *netlink.Handle, device string, address netip.Addr, mbps int64) error {
	link, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding device %s: %w", device, err)
	}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(30, 32)}}); err != nil {
		return fmt.Errorf("giving device %s its address: %w", device, err)
	}
	if mbps > 0 {
		// What one end sends is what the other receives: both together limit
		// both directions, and neither end can be changed from inside.
		rate := uint64(mbps) * 1_000_000 / 8
		burst := max(rate/100, 128<<10)
		bucket := &netlink.Tbf{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			Rate:       rate, Buffer: uint32(netlink.Xmittime(rate, uint32(burst))), Limit: uint32(burst + rate/20),
		}
		if err := h.QdiscAdd(bucket); err != nil {
			return fmt.Errorf("limiting device %s to %s Mbps: %w", device, strconv.FormatInt(mbps, 10), err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("switching device %s on: %w", device, err)
	}
	return nil
}

// measure reads the counters of the host's end: what it received is what the
// container sent.
func (w *wire) measure(stats *compute.Stats) {
	link, err := netlink.LinkByName(w.Device)
	if err != nil || link.Attrs().Statistics == nil {
		return
	}
	stats.RxBytes, stats.TxBytes = int64(link.Attrs().Statistics.TxBytes), int64(link.Attrs().Statistics.RxBytes)
	stats.Measured = append(stats.Measured, compute.Network)
}

// disconnect takes devices and rules away. The devices may have gone with the
// container's network already.
func (w *wire) disconnect() error {
	link, err := netlink.LinkByName(w.Device)
	var gone netlink.LinkNotFoundError
	switch {
	case errors.As(err, &gone):
		err = nil
	case err == nil:
		if err = netlink.LinkDel(link); errors.Is(err, unix.ENODEV) {
			err = nil
		}
	}
	return errors.Join(err, filterOff(w.Device))
}
