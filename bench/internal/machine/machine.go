package machine

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

// Machine is where it was measured, and with what.
type Machine struct {
	CPU           string
	Cores         int
	Memory        string
	Linux         string
	Versions      []string // of programs
	Date, Command string
	InMemory      bool // the file system of what is written
}

// Describe asks the machine; what it does not tell is left out. It is told which
// command measures, and into which folder that writes.
func Describe(command, folder string) Machine {
	read := func(file, pattern string) string {
		text, _ := os.ReadFile(file)
		return firstMatch(text, pattern)
	}
	m := Machine{
		CPU:     cmp.Or(read("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`), runtime.GOARCH),
		Cores:   runtime.NumCPU(),
		Linux:   read("/proc/sys/kernel/osrelease", `^(\d+\.\d+)`),
		Date:    time.Now().Format("2 January 2006"),
		Command: strings.Join(append([]string{command}, os.Args[1:]...), " "),
	}
	var kilobytes float64
	_, _ = fmt.Sscan(read("/proc/meminfo", `^MemTotal:\s*(\d+)`), &kilobytes)
	m.Memory = fmt.Sprintf("%.0f GiB", kilobytes/(1<<20))
	var stat syscall.Statfs_t
	const tmpfs = 0x01021994
	m.InMemory = syscall.Statfs(folder, &stat) == nil && stat.Type == tmpfs
	m.Add("Go", strings.TrimPrefix(runtime.Version(), "go"))
	return m
}

// Add adds the version of a program, unless it is empty.
func (m *Machine) Add(name, version string) {
	if version != "" {
		m.Versions = append(m.Versions, name+" "+version)
	}
}

// Says is what in a program's output matches the group of a pattern.
func Says(ctx context.Context, pattern, program string, args ...string) string {
	text, _ := exec.CommandContext(ctx, program, args...).CombinedOutput() // some say it and fail
	return firstMatch(text, pattern)
}

func firstMatch(text []byte, pattern string) string {
	if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
		return string(found[1])
	}
	return ""
}

// Dependency is the version of a module that a program was built with.
func Dependency(program, module string) string {
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
