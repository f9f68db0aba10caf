//go:build linux

package local

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// filterUsable asks the kernel's packet filter for its tables.
func filterUsable() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	_, err = c.ListTables()
	return err
}

// filterOn makes a table of a container's own, named like its device. What the
// container sends is dropped unless a rule accepts it:
//
//	link-local addresses, where clouds keep their metadata: never
//	to the host itself: an allowed address of full length
//	through the host: an allowed network
//
// and nobody reaches the container but with answers. A drop of another table
// on the host holds as well: rules only take away.
func filterOn(device string, allow []netip.Prefix) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Name: device, Family: nftables.TableFamilyINet})
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: priority})
	}
	forward := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	input := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	after := chain("after", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	rule := func(on *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: on, Exprs: all})
	}
	from, to := onDevice(expr.MetaKeyIIFNAME, device), onDevice(expr.MetaKeyOIFNAME, device)
	for _, on := range []*nftables.Chain{forward, input} {
		for _, never := range []string{"169.254.0.0/16", "fe80::/10", "fd00:ec2::/32"} {
			rule(on, from, destination(netip.MustParsePrefix(never)), verdict(expr.VerdictDrop))
		}
		for _, p := range allow {
			if on == forward || p.IsSingleIP() {
				rule(on, from, destination(p), verdict(expr.VerdictAccept))
			}
		}
		rule(on, from, verdict(expr.VerdictDrop))
	}
	rule(forward, to, established(), verdict(expr.VerdictAccept))
	rule(forward, to, verdict(expr.VerdictDrop))
	// The container's addresses mean nothing beyond the host.
	rule(after, source(wireBlock), notOnDevice(device), []expr.Any{&expr.Masq{}})
	return c.Flush()
}

// filterOff takes a container's table away.
func filterOff(device string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.Name == device {
			c.DelTable(t)
		}
	}
	return c.Flush()
}

func deviceName(name string) []byte {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return data
}

func onDevice(key expr.MetaKey, name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: deviceName(name)},
	}
}

func notOnDevice(name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: deviceName(name)},
	}
}

// Where addresses are in the headers of both protocols.
const (
	source4, destination4 = 12, 16
	destination6          = 24
)

func destination(p netip.Prefix) []expr.Any {
	if p.Addr().Is4() {
		return address(p, destination4)
	}
	return address(p, destination6)
}

func source(p netip.Prefix) []expr.Any { return address(p, source4) }

// address compares the network part of an address in the packet's header.
func address(p netip.Prefix, offset uint32) []expr.Any {
	protocol, length := byte(unix.NFPROTO_IPV4), 4
	if p.Addr().Is6() {
		protocol, length = unix.NFPROTO_IPV6, 16
	}
	mask := make([]byte, length)
	for bit := range p.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(length)},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(length), Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func established() []expr.Any {
	state := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: state, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
