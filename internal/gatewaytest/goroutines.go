package gatewaytest

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Goroutines lists those whose stacks mention a function, as "goroutine 12".
func Goroutines(function string) []string {
	stacks := make([]byte, 1<<20)
	n := runtime.Stack(stacks, true)
	for n == len(stacks) {
		stacks = make([]byte, 2*len(stacks))
		n = runtime.Stack(stacks, true)
	}
	var found []string
	for stack := range strings.SplitSeq(string(stacks[:n]), "\n\n") {
		if strings.Contains(stack, function) {
			id, _, _ := strings.Cut(stack, " [")
			found = append(found, id)
		}
	}
	return found
}

// accepting lists the goroutines that accept connections for Caddy's sites.
func accepting() []string {
	return Goroutines("created by github.com/caddyserver/caddy/v2/modules/caddyhttp.(*App).Start")
}

// settle waits after a load until only the configuration that has won accepts
// connections: Go's server closes those unanswered that come just before it
// ends. before are those who accepted before the load.
func settle(tb testing.TB, before []string, loaded bool) {
	tb.Helper()
	Eventually(tb, "the other configuration's servers to close", func() bool {
		return !slices.ContainsFunc(accepting(), func(id string) bool { return slices.Contains(before, id) == loaded })
	})
}

// leakPatience is how long goroutines may take to end: the server of a replaced
// configuration waits five seconds for connections on which nothing came.
const leakPatience = 15 * time.Second

// caddysOwn are goroutines that Caddy v2.11.9 leaves behind when it is stopped.
var caddysOwn = []goleak.Option{
	// The admin endpoint serves on after a Stop, until it is replaced or the
	// process ends.
	goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2.replaceLocalAdminServer.func2"),
	// Log files are never closed: the hook that should do it is put on a copy of
	// the configuration's context.
	goleak.IgnoreAnyFunction("github.com/DeRuina/timberjack.(*Logger).millRun"),
	// A lock's keeper looks only every five seconds whether the lock is gone.
	goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
}

// VerifyNoLeaks fails the test if goroutines are left when it has ended, after
// the cleanups that are registered later. Call it before Start.
func VerifyNoLeaks(tb testing.TB) {
	tb.Helper()
	options := append([]goleak.Option{goleak.IgnoreCurrent()}, caddysOwn...)
	tb.Cleanup(func() {
		deadline := time.Now().Add(leakPatience)
		err := goleak.Find(options...) // which tries for a while itself
		for err != nil && time.Now().Before(deadline) {
			err = goleak.Find(options...)
		}
		if err != nil {
			tb.Errorf("after the test: %v", err)
		}
	})
}
