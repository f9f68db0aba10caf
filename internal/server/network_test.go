package server

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestInternetHasNoInnerAddress looks for addresses on both sides of what is
// left out.
func TestInternetHasNoInnerAddress(t *testing.T) {
	t.Parallel()
	all := internet()
	for text, want := range map[string]bool{
		"8.8.8.8": true, "9.255.255.255": true, "10.0.0.0": false, "10.255.255.255": false, "11.0.0.0": true, "1.1.1.1": true,
		"100.63.255.255": true, "100.64.0.1": false, "100.128.0.0": true, "127.0.0.1": false, "169.253.1.1": true,
		"169.254.169.254": false, "172.15.255.255": true, "172.16.0.1": false, "172.31.255.255": false, "172.32.0.0": true,
		"192.168.1.1": false, "192.167.1.1": true, "192.169.0.0": true, "198.18.0.1": false, "223.255.255.255": true,
		"224.0.0.1": false, "255.255.255.255": false, "0.0.0.0": false,
	} {
		addr := netip.MustParseAddr(text)
		if got := slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(addr) }); got != want {
			t.Errorf("%s is reached: %v, want %v", text, got, want)
		}
	}
	for i, p := range all {
		if p != p.Masked() || slices.ContainsFunc(all[i+1:], p.Overlaps) {
			t.Errorf("%v is not a network of its own", p)
		}
	}
}

func TestResolvers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	text := "search x\nnameserver 10.1.2.3\nnameserver 127.0.0.53\nnameserver 169.254.169.253\nnameserver fe80::1\nnameserver\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := resolvers(file); len(got) != 1 || got[0].String() != "10.1.2.3/32" {
		t.Errorf("got %v", got)
	}
}

func TestNetworkConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		network []string
		wrong   int
	}{
		{nil, 0},
		{[]string{"none"}, 0},
		{[]string{"internet", "10.1.0.0/16", "10.2.3.4"}, 0},
		{[]string{"host", "internet"}, 1},
		{[]string{"10.1.0.1/16"}, 1},
		{[]string{"everything"}, 1},
	} {
		c := Config{Network: tt.network}
		if wrong := c.validateNetwork(); len(wrong) != tt.wrong {
			t.Errorf("%v: %v", tt.network, wrong)
		}
	}
}
