// Package vault fetches an account's credential from HashiCorp Vault, or from
// files and variables that others fill, and keeps it current.
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
// # Logins
//
// An [Auth] reads its files at each login, and the client certificate at each
// connection, so that whoever renews them need not tell us. What a wrapping token
// stood for is kept in memory: it can be unwrapped only once, and a token that
// was used before is told of as a theft. A server that is behind the one of the
// login answers 412, and is asked again; that is no denial.
//
// # What is trusted
//
// Everything comes from [Config]; the VAULT_* variables of the environment,
// which Vault's client library reads, have no effect (one that the library
// cannot parse is an error of [New]). There is no proxy, no redirect is
// followed, TLS is verified, and plain HTTP is refused but for a loopback
// address. A wrapping token is taken only if Vault says that it is from where
// such secrets are made. Errors hold the path, and of Vault's own words only its
// error messages, without the token, the secret ID and the JWT.
//
// # What stays in memory
//
// The answer that carried the credential is overwritten once it is read, and a
// replaced credential with its last use. Not in our hands, and left to the
// garbage collector: the buffers of the TLS and HTTP libraries through which
// the answer came (connections are not kept, so these are let go at once), and
// Vault tokens, secret IDs and JWTs, which the client library keeps as strings.
package vault
