package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// pids are its own and those of its children, which nginx has.
func (p *Process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pids[0])) // none where the kernel does not tell
	for field := range strings.FieldsSeq(string(children)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// CPU is the time that it and its children have computed.
func (p *Process) CPU() (sum time.Duration, err error) {
	for _, pid := range p.pids() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		t, err := parseStat(string(stat))
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// Memory is what it and its children hold in RAM now, and held at most, in MiB.
func (p *Process) Memory() (now, peak float64, err error) {
	for _, pid := range p.pids() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, 0, fmt.Errorf("reading memory: %w", err)
		}
		n, p, err := parseStatus(string(status))
		if err != nil {
			return 0, 0, err
		}
		now, peak = now+n, peak+p
	}
	return now, peak, nil
}

// parseStat reads utime and stime of proc_pid_stat(5), in hundredths of a second.
func parseStat(stat string) (sum time.Duration, err error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // the name in parentheses may hold anything
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading CPU time: %q is too short", stat)
	}
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum, nil
}

// parseStatus reads VmRSS and VmHWM of proc_pid_status(5).
func parseStatus(status string) (now, peak float64, err error) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS":
			_, err = fmt.Sscanf(value, "%f kB", &now)
		case "VmHWM":
			_, err = fmt.Sscanf(value, "%f kB", &peak)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("reading memory: %q: %w", line, err)
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("reading memory: it is not in %q", status)
	}
	return now / 1024, peak / 1024, nil
}
