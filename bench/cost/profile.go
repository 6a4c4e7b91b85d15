package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
)

const ours = "github.com/nowpay-gateway/nowpay-gateway/"

// site is where something is allocated: a line of a function of ours, and what it
// called that did.
type site struct{ function, line, by string }

// spent is what was allocated.
type spent struct{ objects, bytes int64 }

func (s spent) plus(t spent) spent { return spent{s.objects + t.objects, s.bytes + t.bytes} }

// profile prints where an exchange allocates, by function of ours, the one that
// allocates most at first. Every allocation must be profiled: runtime.MemProfileRate
// must have been 1 from the start.
func profile(ctx context.Context, out io.Writer, r *rig) error {
	if err := r.exchange(ctx, warmUp); err != nil {
		return err
	}
	before := allocated()
	var begun, ended runtime.MemStats
	runtime.ReadMemStats(&begun)
	if err := r.exchange(ctx, measured); err != nil {
		return err
	}
	runtime.ReadMemStats(&ended)
	sites := allocated()
	for s, at := range sites {
		sites[s] = spent{at.objects - before[s].objects, at.bytes - before[s].bytes}
	}
	printSites(out, sites, measured)
	fmt.Fprintf(out, "%8.2f allocations in all: the profile misses those below 16 bytes that share a block with another\n", float64(ended.Mallocs-begun.Mallocs)/measured)
	return nil
}

// allocated is what has been allocated so far.
func allocated() map[site]spent {
	runtime.GC() // the profile is that of the last collection
	runtime.GC()
	records := make([]runtime.MemProfileRecord, 64)
	for n, ok := runtime.MemProfile(records, true); !ok; n, ok = runtime.MemProfile(records, true) {
		records = make([]runtime.MemProfileRecord, n+64)
	}
	sites := make(map[site]spent)
	for _, record := range records {
		if s := siteOf(record.Stack()); s.function != "" {
			sites[s] = sites[s].plus(spent{record.AllocObjects, record.AllocBytes})
		}
	}
	return sites
}

// siteOf finds the innermost function of ours that is not of this command.
func siteOf(stack []uintptr) (s site) {
	frames := runtime.CallersFrames(stack)
	for more := true; more; {
		var frame runtime.Frame
		if frame, more = frames.Next(); strings.HasPrefix(frame.Function, "runtime.") {
			continue
		}
		name, mine := strings.CutPrefix(frame.Function, ours)
		if mine {
			s.function, s.line = name, fmt.Sprintf("%s:%d", path.Base(frame.File), frame.Line)
			return s
		}
		s.by = cmp.Or(s.by, frame.Function)
	}
	return s
}

// printSites prints what is allocated at least once in a hundred times.
func printSites(out io.Writer, sites map[site]spent, exchanges int64) {
	functions := make(map[string]spent)
	var all spent
	for s, at := range sites {
		functions[s.function] = functions[s.function].plus(at)
		all = all.plus(at)
	}
	line := func(at spent, format string, args ...any) {
		fmt.Fprintf(out, "%8.2f %9.0f  %s\n", float64(at.objects)/float64(exchanges), float64(at.bytes)/float64(exchanges), fmt.Sprintf(format, args...))
	}
	most := func(a, b spent) int { return cmp.Or(cmp.Compare(b.objects, a.objects), cmp.Compare(b.bytes, a.bytes)) }
	fmt.Fprintf(out, "%8s %9s\n", "allocs", "bytes")
	line(all, "an exchange")
	for _, name := range slices.SortedFunc(maps.Keys(functions), func(a, b string) int {
		return cmp.Or(most(functions[a], functions[b]), cmp.Compare(a, b))
	}) {
		if functions[name].objects*100 < exchanges {
			continue
		}
		line(functions[name], "%s", name)
		for _, s := range slices.SortedFunc(maps.Keys(sites), func(a, b site) int {
			return cmp.Or(most(sites[a], sites[b]), cmp.Compare(a.line, b.line), cmp.Compare(a.by, b.by))
		}) {
			if s.function == name && sites[s].objects*100 >= exchanges {
				line(sites[s], "  %s", strings.TrimSpace(s.line+" "+s.by))
			}
		}
	}
}
