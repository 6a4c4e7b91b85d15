package caddymodule

import "log/slog"

// keepMemory has the system write nothing of the process's memory into a file,
// before there is a key in it.
func (a *App) keepMemory(logger *slog.Logger) {
	if a.CoreDumps {
		logger.Warn("core_dumps: the key is in a core dump of this process, and debuggers may read it")
		return
	}
	if err := forbidCoreDumps(); err != nil {
		logger.Warn("core dumps could not be turned off; turn them off by the system's means, such as LimitCORE=0", "error", err)
	}
}
