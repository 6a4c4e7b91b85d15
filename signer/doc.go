// Package signer turns a checked request and a credential into what leaves
// the gateway.
//
// A [Scheme] makes a signed request. The documented one, [Credentials], puts username
// and key into the body, in front of the merchant's own members, and changes no other
// byte. [HTTPSig] signs, and [JWE] encrypts: the key then does not travel. Clocks and
// nonces are inputs, but for the random numbers that encryption draws; only a key that
// is elsewhere ([HTTPSig.Key]) reaches a network.
//
// A [Verifier] is the other way round: it checks the proof that an answer carries, and
// gives it as it is to be read. [Requests] verifies what merchants sign.
//
// # What it defends against
//
//   - A merchant who brings a username or key of its own is refused, in any
//     letter case and however escaped. The gateway checks this before; it is
//     checked again where the credential goes in, because a body with two keys
//     means whatever its reader chooses.
//   - The credential is in one place only, [Signed.Body], a buffer that is made
//     in its final size and does not grow, so that [Signed.Wipe] leaves no copy
//     behind. Username and key come from one [secret.Credential] and so are of
//     one version.
//   - A private key in PEM is never put into a body.
//   - A signed answer is believed only by a known key and its one algorithm, while it is
//     fresh, and for the request that it covers: once, where that does not make it
//     unique. What may belong to another request is [Answer.Unbound].
//   - An encrypted answer is believed only in the one form and by the algorithms
//     that are accepted; nothing in it chooses a key, another algorithm or
//     compression, and a request of ours that comes back is none.
//   - Errors hold nothing of the credential or the body.
//   - Of the merchant's headers none leaves: what is sent is [Signed.Header],
//     [Signed.ContentType] and what the egress sets itself.
package signer
