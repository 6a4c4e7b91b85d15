// Package secret holds values that must not be printed, and the credential
// that an account uses at the provider.
//
// A [Value] is a function, not a string: formatting, logging, marshalling and
// printers that walk values by reflection find nothing in it. Only
// [Value.Reveal] gives the bytes.
//
// A [Store] holds the current [Credential] of one account. Sources put new
// versions in; each exchange takes one with [Store.Acquire] and gives it back
// with [Credential.Release]. Username and key of a credential belong together:
// an exchange has both from one version. A replaced credential is overwritten
// in memory with its last release, or, where [Store.Keep] says so, is known for a
// while longer: answers and callbacks that were signed with it are under way.
//
// [Do] is for code that works with the bytes: it erases what that leaves behind, in
// a build that can.
//
// What the package cannot do: copies that others made of the bytes (a request
// body, the buffers of TLS and HTTP) are theirs to overwrite, and the kernel
// may have swapped memory out.
package secret
