// Package postgrestest runs a real PostgreSQL server for tests and benchmarks.
//
// The server is the installed one (Debian's package postgresql, or what is on
// the PATH), on a port of 127.0.0.1 and with data in a temporary folder of its
// own, so that it can be stopped, killed, frozen and started again like one in
// production. Where the tests run as root, which PostgreSQL refuses to, it runs
// as an unprivileged user. Its processes end with the test, even with one that
// crashed.
//
// Where PostgreSQL is missing, tests are skipped and say how to install it; with
// CI=true in the environment they fail, since a run without them proves nothing.
//
// The package is for Linux.
package postgrestest
