package machine

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const stat = "42 (a) S (b) S 1 42 42 0 -1 4194560 5000 0 0 0 123 45 0 0 20 0 9 0 8000 1 2\n"
	if got, err := parseStat(stat); got != 1680*time.Millisecond || err != nil {
		t.Errorf("parseStat(%q) = %v, %v, want 1.68s", stat, got, err)
	}
	for _, stat := range []string{"", "42 (caddy) S 1 42", strings.Replace(stat, "123", "x", 1)} {
		if got, err := parseStat(stat); err == nil {
			t.Errorf("parseStat(%q) = %v, want an error", stat, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const status = "Name:\tcaddy\nVmHWM:\t   10240 kB\nVmRSS:\t    5120 kB\nThreads:\t9\n"
	if now, peak, err := parseStatus(status); now != 5 || peak != 10 || err != nil {
		t.Errorf("parseStatus() = %v, %v, %v, want 5 and 10 MiB", now, peak, err)
	}
	for _, status := range []string{"Name:\tcaddy\n", "VmRSS:\tx kB\n"} {
		if now, peak, err := parseStatus(status); err == nil {
			t.Errorf("parseStatus(%q) = %v, %v, want an error", status, now, peak)
		}
	}
}
