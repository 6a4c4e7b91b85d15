//go:build goexperiment.runtimesecret

package secret

import "runtime/secret"

// Do calls f, which works with a secret. What f leaves on the stack and in registers
// is erased before Do returns, and what it has allocated as soon as the garbage
// collector finds it unused. f should allocate little and start no goroutines, which
// are not covered.
func Do(f func()) { secret.Do(f) }
