// Package httpsig signs and verifies HTTP messages by RFC 9421 (HTTP Message
// Signatures) with the digests of RFC 9530 (Digest Fields).
package httpsig
