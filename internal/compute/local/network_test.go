//go:build linux

package local_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quire/internal/compute"
)

// dialCommand makes the test's program one that connects to addresses and says how
// it went. What is refused never answers: more than a second is waited for the
// first argument alone, which is the one that answers.
const dialCommand = "dial"

func dialAll(args []string) int {
	for _, a := range args[1:] {
		wait := time.Second
		if a == args[0] {
			wait = time.Minute
		}
		c, err := net.DialTimeout("tcp", a, wait)
		if err != nil {
			fmt.Println(a, "refused:", err)
			continue
		}
		word, _ := io.ReadAll(io.LimitReader(c, 4))
		fmt.Println(a, "reached", string(word))
		c.Close()
	}
	return 0
}

// flowCommand sends or receives as much as it can for some seconds and prints
// megabits a second.
const flowCommand = "flow"

func flow(args []string) int {
	c, err := net.Dial("tcp", args[1])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	seconds, _ := strconv.Atoi(args[2])
	buffer := make([]byte, 64<<10)
	total, began := 0, time.Now()
	for time.Since(began) < time.Duration(seconds)*time.Second {
		var n int
		if args[0] == "up" {
			n, err = c.Write(buffer)
		} else {
			n, err = c.Read(buffer)
		}
		if total += n; err != nil {
			break
		}
	}
	fmt.Printf("%.1f\n", float64(total)*8/1e6/time.Since(began).Seconds())
	return 0
}

// hostAddress gives the host a further address, for as long as the test runs.
func hostAddress(t *testing.T, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address + "/32")
	if err != nil {
		t.Fatal(err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.AddrReplace(lo, a)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.AddrDel(lo, a) }) //nolint:errcheck // another run may have taken it away
}

// listen serves connections on an address of the host.
func listen(t *testing.T, address string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func (in *inside) netSpec(r compute.Resources, allow []string, argv ...string) compute.Spec {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	spec := in.spec(r, append([]string{"/probe"}, argv...)...)
	spec.Mounts = append(spec.Mounts, compute.Mount{Source: program, Target: "/probe", ReadOnly: true})
	spec.Network.Mode = compute.NetworkPrivate
	for _, a := range allow {
		spec.Network.Allow = append(spec.Network.Allow, netip.MustParsePrefix(a))
	}
	return spec
}

// TestNetworkPolicy: a metadata service, an allowed address and another one of
// the host are all there, and only the allowed one is reached.
func TestNetworkPolicy(t *testing.T) {
	needRoot(t)
	in := setup(t)
	hello := func(c net.Conn) { c.Write([]byte("here")) } //nolint:errcheck // the container says what it got
	for _, a := range []string{"169.254.169.254", "10.77.0.1", "10.77.0.2"} {
		hostAddress(t, a)
	}
	metadata, allowed, other := listen(t, "169.254.169.254:0", hello), listen(t, "10.77.0.1:0", hello), listen(t, "10.77.0.2:0", hello)
	for _, a := range []string{metadata, allowed, other} {
		if c, err := net.Dial("tcp", a); err != nil {
			t.Fatalf("the host does not reach %s itself: %v", a, err)
		} else {
			c.Close()
		}
	}
	for _, tt := range []struct {
		allow []string
		want  string
	}{
		{[]string{"10.77.0.1/32"}, allowed},
		{nil, ""},
		{[]string{"0.0.0.0/0"}, ""}, // everybody but the host itself
		{[]string{"169.254.0.0/16", "169.254.169.254/32"}, ""},
	} {
		spec := in.netSpec(compute.Resources{}, tt.allow, dialCommand, tt.want, metadata, allowed, other)
		exit, log := in.run(t, spec)
		for _, a := range []string{metadata, allowed, other} {
			if reached := strings.Contains(log, a+" reached here"); reached != (a == tt.want) {
				t.Errorf("allow %v: %s reached: %v; %+v\n%s", tt.allow, a, reached, exit, log)
			}
		}
		if err := in.Remove(t.Context(), spec.ID); err != nil {
			t.Error(err)
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, "qr") {
			t.Logf("a device is there still: %s", l.Attrs().Name)
		}
	}
}

func TestBandwidth(t *testing.T) {
	needRoot(t)
	in := setup(t)
	hostAddress(t, "10.77.0.3")
	block := make([]byte, 64<<10)
	down := listen(t, "10.77.0.3:0", func(c net.Conn) {
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	up := listen(t, "10.77.0.3:0", func(c net.Conn) { io.Copy(io.Discard, c) }) //nolint:errcheck // until the container ends
	measure := func(mbps int64, way, address string, seconds int) float64 {
		spec := in.netSpec(compute.Resources{NetworkMbps: mbps}, []string{"10.77.0.3/32"}, flowCommand, way, address, strconv.Itoa(seconds))
		exit, log := in.run(t, spec)
		got, err := strconv.ParseFloat(strings.TrimSpace(log), 64)
		if err != nil || exit.Code != 0 {
			t.Fatalf("%+v %q", exit, log)
		}
		return got
	}
	free := measure(0, "down", down, 3)
	for way, address := range map[string]string{"down": down, "up": up} {
		got := measure(128, way, address, 10)
		t.Logf("%s: %.1f Mbps with a limit of 128, for 10 s (%.0f without a limit)", way, got, free)
		if got > 128*1.1 || got < 128*0.5 {
			t.Errorf("%s: %.1f Mbps with a limit of 128", way, got)
		}
	}
	if free < 300 {
		t.Errorf("without a limit it is %.1f Mbps: the test shows nothing", free)
	}
}
