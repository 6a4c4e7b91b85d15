// Package vaulttest runs a real HashiCorp Vault server for tests.
//
// The server is the program in internal/tools/vaultserver, a Go module of its
// own. It is built once, into .cache/vaultserver at the top of the repository
// and under a lock that all test processes share; a first build takes some
// minutes, and later starts a fraction of a second. The server's data lies in
// a directory of the test, so that it can be stopped, started again, sealed
// and unsealed like one in production. Its process ends with the test, even
// with one that crashed.
//
// Where the server cannot be built for want of a Go command or of the network,
// tests are skipped with the reason; with CI=true in the environment they fail,
// since a run without them proves nothing.
//
// The package is for Unix systems.
package vaulttest
