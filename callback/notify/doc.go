// Package notify tells a merchant's server one thing, once: it sends a message
// as Standard Webhooks describes (https://www.standardwebhooks.com), signed with
// a secret that only this merchant and we have. What is sent when, again and in
// which order is not decided here.
//
// # Against what
//
// The URL is the operator's, but the name in it is resolved by servers that are
// not, and whoever answers behind it is not trusted with anything but the
// message.
//
//   - A name that leads to where only we can go: the machine itself, its
//     neighbours, the cloud's metadata. Addresses are checked after the lookup,
//     and the checked address is dialled; [Endpoint.Private] says which may be.
//   - An answer that leads there: redirects are not followed.
//   - An answer without an end, in time or size.
//   - Somebody who sends in our name or changes what we said: signature and
//     time, both under HMAC. A message that is repeated by others has the same
//     ID; the receiver compares the time with its clock.
//   - A secret, a token in the URL's query, or the peer's text in a log or on the
//     operator's page: [Result] holds none of them.
//
// # What holds
//
//   - One [Sender.Send] writes a message at most once. [net/http.Transport]
//     repeats a request by itself only if it is idempotent, which a POST without
//     Idempotency-Key is not, or if not a byte was written and it can be read
//     again, which it cannot without GetBody. A kept connection that turns out to
//     be dead is therefore a failure, and rare: the transport drops a connection
//     as soon as it sees the peer close it, and after a few idle seconds of its
//     own accord.
//   - A failure does not mean that the merchant has not got the message.
//   - There is one function that dials, and it knows one host. No proxy is asked,
//     no cookie kept, nothing is decompressed.
//   - Never dialled: link-local, multicast and unspecified addresses, metadata
//     services wherever they are, and IPv6 addresses that carry an IPv4 address
//     (NAT64, 6to4, Teredo). IPv4-mapped addresses count as what they map.
//   - Only the status of an answer is believed. Its body is read to keep the
//     connection and thrown away.
//   - Nothing outlives [Sender.Close].
//
// # What does not
//
// Without TLS ([Endpoint.InsecureHTTP], or on this machine) everybody on the way
// can read the message. Secrets stay in memory until they are collected; the
// parts of them that hashing makes cannot be overwritten.
package notify
