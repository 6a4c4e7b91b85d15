// Package vault fetches an account's credential from HashiCorp Vault, or for
// development from a file, and keeps it current.
//
// A [Source] logs in, finds out by itself whether the path lies in a KV engine
// of version 1 or 2, reads the credential, and from then on renews its token
// and reads the credential again in the background. [Source.Acquire] only looks
// into memory: no request ever waits for Vault, and however many there are,
// Vault sees one client with one login at a time. [Source.Refresh] is for those who
// have reason to wait; it has Vault asked at most once a second.
//
// # What counts
//
// While Vault is down, sealed or denies access, the credential in memory is
// used on, until it has not been confirmed for [Config.StaleFor]. A secret that
// Vault says is deleted or destroyed, or one with a missing, empty or malformed
// field, is no credential at once.
//
// # What is trusted
//
// Everything comes from [Config]; the VAULT_* variables of the environment,
// which Vault's client library reads, have no effect (one that the library
// cannot parse is an error of [New]). There is no proxy, no redirect is
// followed, TLS is verified, and plain HTTP is refused but for a loopback
// address. Errors hold the path, and of Vault's own words only its error
// messages, without the token and the secret ID.
//
// # What stays in memory
//
// The answer that carried the credential is overwritten once it is read, and a
// replaced credential with its last use. Not in our hands, and left to the
// garbage collector: the buffers of the TLS and HTTP libraries through which
// the answer came (connections are not kept, so these are let go at once), and
// Vault tokens and secret IDs, which the client library keeps as strings.
package vault
