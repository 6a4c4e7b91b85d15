package egress_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

// serverNamespace is the variable that tells this test binary, started once
// more inside the client's namespace, where the server's is.
const serverNamespace = "EGRESS_TEST_SERVER_NAMESPACE"

// TestNetworkNamespaces lets the client live on a machine of its own, one
// cable away from the server, where addresses come and go.
func TestNetworkNamespaces(t *testing.T) {
	_, err := exec.LookPath("ip")
	need(t, err == nil, "the command ip (iproute2)")
	need(t, os.Geteuid() == 0, "root")
	clientNS, serverNS := fmt.Sprintf("egress-client-%d", os.Getpid()), fmt.Sprintf("egress-server-%d", os.Getpid())
	for _, name := range []string{clientNS, serverNS} {
		out, err := exec.Command("ip", "netns", "add", name).CombinedOutput()
		need(t, err == nil, fmt.Sprintf("network namespaces: %v %s", err, out))
		t.Cleanup(func() { ip(t, "netns del "+name) })
	}
	ip(t, "-n "+clientNS+" link add cable type veth peer name cable netns "+serverNS)
	ip(t, "-n "+serverNS+" addr add 10.77.0.1/24 dev cable")
	ip(t, "-n "+clientNS+" addr add 10.77.0.9/24 dev cable") // the machine's own, never to be used
	for _, name := range []string{clientNS, serverNS} {
		ip(t, "-n "+name+" link set lo up")
		ip(t, "-n "+name+" link set cable up")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "ip", "netns", "exec", clientNS, self, "-test.run=^TestInNamespace$", "-test.v", "-test.timeout=2m")
	child.Env = append(os.Environ(), serverNamespace+"="+serverNS)
	out, err := child.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestInNamespace/") {
		t.Errorf("in the namespace: %v", err)
	}
}

// ip runs the command of that name.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func arrive(t *testing.T, addr string) { t.Helper(); ip(t, "addr add "+addr+"/32 dev cable") }
func leave(t *testing.T, addr string)  { t.Helper(); ip(t, "addr del "+addr+"/32 dev cable") }

// listenIn listens in another network namespace.
func listenIn(t *testing.T, namespace, addr string) net.Listener {
	t.Helper()
	type result struct {
		net.Listener
		error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends here, its namespace with it
		file, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		var l net.Listener
		if err == nil {
			l, err = net.Listen("tcp", addr)
		}
		done <- result{l, err}
	}()
	r := <-done
	if r.error != nil {
		t.Fatalf("listening in %s: %v", namespace, r.error)
	}
	return r.Listener
}

// TestInNamespace is the part of TestNetworkNamespaces inside.
func TestInNamespace(t *testing.T) {
	namespace := os.Getenv(serverNamespace)
	if namespace == "" {
		t.Skip("run by TestNetworkNamespaces")
	}
	const first, second = "10.77.0.5", "10.77.0.6"
	prepare := func(t *testing.T, script func(*peer), adjust func(*egress.Config)) (*provider, *egress.Client) {
		t.Helper()
		p := serveOn(t, listenIn(t, namespace, "10.77.0.1:0"), nil, script)
		c := client(t, p, func(cfg *egress.Config) {
			cfg.WatchInterval = 5 * time.Millisecond
			cfg.InsecureHTTP = true
			cfg.Timeout = 20 * time.Second
			adjust(cfg)
		})
		c.Start()
		return p, c
	}
	refuses := func(t *testing.T, c *egress.Client) {
		t.Helper()
		_, err := c.Do(t.Context(), request())
		checkError(t, err, false, egress.ErrEgressAddress)
	}
	postsFrom := func(t *testing.T, p *provider, c *egress.Client, addr string) {
		t.Helper()
		resp := post(t, c)
		sources := p.Sources()
		if got := sources[len(sources)-1]; got.String() != addr || resp.LocalAddr != got {
			t.Errorf("server saw %v, response says %v, want %s", got, resp.LocalAddr, addr)
		}
	}

	t.Run("taken away and given back", func(t *testing.T) {
		p, c := prepare(t, answering(answer("{}")), func(cfg *egress.Config) { cfg.LocalAddresses = addrs(first) })
		if !errors.Is(c.Ready(), egress.ErrEgressAddress) {
			t.Errorf("Ready: %v", c.Ready())
		}
		refuses(t, c)
		for range 3 {
			arrive(t, first)
			postsFrom(t, p, c, first) // at once, whenever the watcher looks
			eventually(t, "readiness", func() bool { return c.Ready() == nil })
			leave(t, first)
			eventually(t, "the loss is noticed", func() bool { return c.Ready() != nil })
			if n := egress.Idle(c); n != 0 {
				t.Errorf("%d connections outlive their address", n)
			}
			refuses(t, c)
		}
		if executed, accepted := p.Executed.Load(), p.Accepted.Load(); executed != 3 || accepted != 3 {
			t.Errorf("%d requests executed over %d connections, want 3 over 3", executed, accepted)
		}
	})

	t.Run("taken away during an exchange", func(t *testing.T) {
		script, arrived, proceed := gate()
		_, c := prepare(t, script, func(cfg *egress.Config) { cfg.LocalAddresses = addrs(first) })
		arrive(t, first)
		done := make(chan error)
		go func() {
			_, err := c.Do(t.Context(), request())
			done <- err
		}()
		<-arrived
		eventually(t, "readiness", func() bool { return c.Ready() == nil })
		leave(t, first)
		eventually(t, "the loss is noticed", func() bool { return c.Ready() != nil })
		arrive(t, first)
		proceed <- struct{}{}
		if err := <-done; err != nil {
			t.Errorf("Do: %v", err)
		}
		if n := egress.Idle(c); n != 0 {
			t.Errorf("%d connections from before the loss are kept", n)
		}
		leave(t, first)
	})

	t.Run("given up while the address is away", func(t *testing.T) {
		p, c := prepare(t, answering(answer("{}")), func(cfg *egress.Config) {
			cfg.LocalAddresses, cfg.WatchInterval, cfg.Timeout = addrs(first), time.Hour, 500*time.Millisecond
		})
		arrive(t, first)
		postsFrom(t, p, c, first)
		leave(t, first)
		_, err := c.Do(t.Context(), request()) // over the kept connection, whose loss nobody has noticed
		checkError(t, err, true, egress.ErrTimeout)
		// What is not delivered yet must not be delivered later.
		sockets, err := os.ReadFile("/proc/thread-self/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		port, _ := strconv.Atoi(p.URL("").Port())
		if provider := fmt.Sprintf(" 01004D0A:%04X ", port); strings.Contains(string(sockets), provider) {
			t.Errorf("there is a socket that goes on to send: %s", sockets)
		}
	})

	t.Run("order of preference", func(t *testing.T) {
		p, c := prepare(t, answering(answer("{}")), func(cfg *egress.Config) { cfg.LocalAddresses = addrs(first, second) })
		arrive(t, second)
		defer leave(t, second)
		postsFrom(t, p, c, second)
		arrive(t, first)
		eventually(t, "the first address is noticed", func() bool { return c.Addresses()[0].Up })
		if n := egress.Idle(c); n != 0 {
			t.Errorf("%d connections from the second address are kept", n)
		}
		postsFrom(t, p, c, first)
		leave(t, first)
		eventually(t, "the loss is noticed", func() bool { return !c.Addresses()[0].Up })
		postsFrom(t, p, c, second)
		if want := addrs(second, first, second); !slices.Equal(p.Sources(), want) {
			t.Errorf("sources %v, want %v", p.Sources(), want)
		}
	})

	t.Run("gone between two checks", func(t *testing.T) {
		arrive(t, first)
		arrive(t, second)
		rarely := func(locals ...netip.Addr) func(*egress.Config) {
			return func(cfg *egress.Config) { cfg.LocalAddresses, cfg.WatchInterval = locals, time.Hour }
		}
		p, c := prepare(t, answering(answer("{}")), rarely(addrs(first, second)...))
		alone, onlyFirst := prepare(t, answering(answer("{}")), rarely(addrs(first)...))
		leave(t, first)
		postsFrom(t, p, c, second)
		refuses(t, onlyFirst)
		if onlyFirst.Ready() == nil {
			t.Error("still ready after a refusal")
		}
		leave(t, second)
		if n := alone.Accepted.Load(); n != 0 {
			t.Errorf("%d connections, want none", n)
		}
	})

	t.Run("system binds to anything", func(t *testing.T) {
		const setting = "/proc/sys/net/ipv4/ip_nonlocal_bind" // of this namespace
		if err := os.WriteFile(setting, []byte("1"), 0); err != nil {
			need(t, false, "to set ip_nonlocal_bind: "+err.Error())
		}
		p, c := prepare(t, answering(answer("{}")), func(cfg *egress.Config) { cfg.LocalAddresses = addrs(first, second) })
		refuses(t, c)
		_, local := prepare(t, answering(answer("{}")), func(cfg *egress.Config) { cfg.LocalAddresses = addrs("127.0.0.5") })
		if err := local.Ready(); err != nil {
			t.Errorf("loopback address: %v", err)
		}
		arrive(t, second)
		postsFrom(t, p, c, second)
		arrive(t, first)
		eventually(t, "the first address is noticed", func() bool { return c.Addresses()[0].Up })
		postsFrom(t, p, c, first)
		leave(t, first)
		leave(t, second)
		eventually(t, "the loss is noticed", func() bool { return c.Ready() != nil })
		refuses(t, c)
	})
}
