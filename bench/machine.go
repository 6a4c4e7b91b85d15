package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// machine is where it was measured, and with what.
type machine struct {
	CPU           string
	Cores         int
	Memory        string
	Linux         string
	Versions      []string // of programs
	Date, Command string
	InMemory      bool // the folder of the journals
}

// describeMachine asks the machine; what it does not tell is left out.
func describeMachine(ctx context.Context, s *stand) machine {
	read := func(file, pattern string) string {
		text, _ := os.ReadFile(file)
		return firstMatch(text, pattern)
	}
	says := func(pattern, program string, args ...string) string {
		text, _ := exec.CommandContext(ctx, program, args...).CombinedOutput()
		return firstMatch(text, pattern)
	}
	m := machine{
		CPU:     cmp.Or(read("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`), runtime.GOARCH),
		Cores:   runtime.NumCPU(),
		Linux:   read("/proc/sys/kernel/osrelease", `^(\d+\.\d+)`),
		Date:    time.Now().Format("2 January 2006"),
		Command: strings.Join(append([]string{"go run ./bench"}, os.Args[1:]...), " "),
	}
	var kilobytes float64
	_, _ = fmt.Sscan(read("/proc/meminfo", `^MemTotal:\s*(\d+)`), &kilobytes)
	m.Memory = fmt.Sprintf("%.0f GiB", kilobytes/(1<<20))
	nginx, _ := findNginx()
	for _, p := range []struct{ name, version string }{
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
		{"Caddy", dependency(s.caddy, "github.com/caddyserver/caddy/v2")},
		{"nginx", says(`nginx/(\S+)`, nginx, "-v")},
		{"wrk", says(`^wrk (?:debian/)?([^-\s]+)`, "wrk", "-v")},
		{"vegeta", dependency(s.vegeta, "github.com/tsenart/vegeta/v12")},
	} {
		m.add(p.name, p.version)
	}
	var stat syscall.Statfs_t
	const tmpfs = 0x01021994
	m.InMemory = syscall.Statfs(s.folder, &stat) == nil && stat.Type == tmpfs
	return m
}

// add adds the version of a program, unless it is not there.
func (m *machine) add(name, version string) {
	if version != "" {
		m.Versions = append(m.Versions, name+" "+version)
	}
}

func firstMatch(text []byte, pattern string) string {
	if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
		return string(found[1])
	}
	return ""
}

// dependency is the version of a module that a program was built with.
func dependency(program, module string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	for _, d := range append(info.Deps, &info.Main) {
		if d.Path == module {
			return strings.TrimPrefix(d.Version, "v")
		}
	}
	return ""
}
