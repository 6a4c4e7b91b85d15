// Package httpsig signs and verifies HTTP messages by RFC 9421 (HTTP Message
// Signatures) with the digests of RFC 9530 (Digest Fields).
//
// [Sign] and [Verify] are pure functions of a [Message], what is asked for and a
// key: no clock, no network but that of the key, no state. The body is covered by
// its digest, in the field Content-Digest: see [Digest] and [CheckDigest].
//
// # What it defends against
//
//   - Two readers who understand one message differently. Fields that are not the
//     structured fields they must be, that name a label, a component or a
//     parameter twice, or that hold anything not understood, are refused, as is a
//     target or an authority that could be read in two ways. Parameters of the
//     signature that are unknown are refused, too, though RFC 9421 lets them be
//     ignored: they could restrict what the signature is for.
//   - A signature of one algorithm that is checked by another. The algorithm is the
//     key's; `alg` can only agree with it.
//   - A signature that covers less than it seems: the policy names what must be
//     covered, and a component that the message does not have is an error.
//   - Headers that cost much to read: length, labels and components are bounded.
//
// # What it does not
//
// It remembers nothing: whoever must not accept a message twice remembers
// [Verified.Nonce]. The signature itself is no substitute, since there are several
// that fit for ecdsa-p256-sha256 and rsa-pss-sha512.
package httpsig
