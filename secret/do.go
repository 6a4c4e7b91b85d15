//go:build !goexperiment.runtimesecret

package secret

// Do calls f, which works with a secret. In a build with GOEXPERIMENT=runtimesecret
// what f leaves on the stack and in registers is erased before Do returns, and what
// it has allocated as soon as the garbage collector finds it unused (package
// runtime/secret, for Linux on amd64 and arm64); otherwise f is called, and nothing
// else. What f wipes itself is wiped either way. f should allocate little and start
// no goroutines, which are not covered.
func Do(f func()) { f() }
