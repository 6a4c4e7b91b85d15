package caddymodule

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// forbidCoreDumps forbids core dumps of this process for as long as it lives. No
// longer dumpable, it is also closed to debuggers of its own user, and a pattern
// that pipes dumps to a program, which no limit stops, gets none. The limit counts
// for the programs too that it may start.
func forbidCoreDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process not dumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limiting the size of core dumps to 0: %w", err)
	}
	return nil
}
