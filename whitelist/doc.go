// Package whitelist decides who may call what, from where.
//
// It answers one question, "may this caller do this?", with a [Decision] that
// names the rule that decided and, if refused, the problem code that the
// caller gets to see. Steps are taken in a fixed order, and the first refusal
// ends it:
//
//  1. identity: which merchant the presented credentials belong to
//  2. source: whether that merchant may come from this address
//  3. operation: deny wins over allow, and what no rule names is denied
//  4. amount: the merchant's limit for one call
//
// A merchant's other limits, those of a rate and of a day, and the prefix of
// its request IDs are checked here for mistakes. Applying them takes a memory,
// which this room has not.
//
// # What it defends against
//
//   - A caller without a known credential learns "unauthenticated" and nothing
//     else: not which merchants, operations or addresses exist.
//   - A stolen credential is worth nothing from another merchant's address.
//   - Tokens are held as SHA-256 hashes, and the time that a comparison takes
//     depends on how many are stored, not on which one is close or matches.
//   - Names in a certificate count only if its chain was verified; the common
//     name never counts. A fingerprint needs no chain: the TLS handshake has
//     proven the private key.
//   - A stolen token is worth nothing for a merchant who signs: without a verified
//     signature by one of its keys nothing else identifies it.
//   - Credentials of two merchants in one request are nobody's.
//   - IPv4 addresses in IPv6 clothing and IPv6 zones are undressed before any
//     comparison, in rules as well as in callers.
//   - Request targets are matched by their bytes as received, in two spellings
//     only ([ParseTarget]); nothing is decoded, cleaned or corrected.
//
// # Invariants
//
// A [Policy] is immutable and safe for concurrent use. It reads no clock, no
// network and no files. Configuration mistakes are errors of the Parse
// functions and of [NewPolicy], and say what to write instead. The zero
// [Decision] is a refusal, and so is the one that comes with an error.
package whitelist
