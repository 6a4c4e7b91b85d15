package main

import (
	"runtime"
	"strings"
	"testing"
)

func TestPrintSites(t *testing.T) {
	var out strings.Builder
	printSites(&out, map[site]spent{
		{"a.F", "f.go:1", ""}:      {100, 1600},
		{"a.F", "f.go:2", "x.New"}: {100, 3200},
		{"b.G", "g.go:1", ""}:      {300, 100},
		{"b.G", "g.go:2", ""}:      {0, 100},
		{"c.H", "h.go:1", ""}:      {0, 0},
	}, 100)
	want := "  allocs     bytes\n" +
		"    5.00        50  an exchange\n" +
		"    3.00         2  b.G\n" +
		"    3.00         1    g.go:1\n" +
		"    2.00        48  a.F\n" +
		"    1.00        32    f.go:2 x.New\n" +
		"    1.00        16    f.go:1\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

// TestSiteOf: the innermost function of ours is named.
func TestSiteOf(t *testing.T) {
	if s := siteOf(nil); s != (site{}) {
		t.Errorf("of no stack: %+v", s)
	}
	var stack [32]uintptr
	s := siteOf(stack[:runtime.Callers(0, stack[:])])
	if s.function != "bench/cost.TestSiteOf" || !strings.HasPrefix(s.line, "profile_test.go:") || s.by != "" {
		t.Errorf("%+v", s)
	}
}
