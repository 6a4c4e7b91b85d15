package postgrestest

import "context"

// TB is what a server needs of a [testing.TB], so that a command can have one as
// well. Fatal, Fatalf and Skipf do not return.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}
