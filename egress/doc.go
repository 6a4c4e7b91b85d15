// Package egress is the one way out: it sends a signed request to the provider,
// once, from the right address, and says with certainty whether a byte of it
// may have left.
//
// It is a synchronous HTTP/1.1 client over pooled connections rather than an
// [net/http.Transport]: the whole request is one write on one known connection,
// and the answer is read by the same goroutine. There is no layer that could
// replay a request, follow a redirect, ask a proxy or inflate a body.
//
// # What holds
//
//   - One attempt. A request is written again only if the operating system took
//     not one byte of the first writing, which happens when a kept connection
//     dies between the look at it and the write. The bytes are counted below
//     TLS, on the socket. Everything after the first byte is [Error.Sent].
//   - A kept connection is looked at before it is used: if the peer has closed
//     it, or has said anything unasked, it is dropped. An answer that did not
//     end exactly where it said it would is the last on its connection, and
//     nothing of the peer's can wait unseen in a buffer of ours for the next
//     exchange to be taken for its answer.
//   - Nothing leaves from an address that is not configured. There is one dial
//     function. While no configured address is on this machine, requests are
//     refused with [ErrEgressAddress].
//   - The address that was checked is the address that is dialled: names are
//     resolved once per dial, and no other code resolves them again. Private
//     and special addresses are refused unless they are listed or the upstream
//     is itself a literal address or localhost.
//   - Only the headers that [Client.Do] names leave, and nothing in them can end
//     a line.
//   - All that the provider can make us hold is bounded: 64 KiB of header,
//     interim answers included, and as much of trailers; [Config.MaxResponse] of
//     body; [Config.Timeout] of time.
//   - Errors quote nothing that the provider said and nothing of the request:
//     they may be logged.
//
// # What does not
//
// The written request, which holds the key, is overwritten when the exchange
// is over. Copies that crypto/tls makes while it encrypts, and those in the
// kernel's socket buffers, cannot be reached.
//
// That an egress address has gone from the machine is noticed within
// [Config.WatchInterval]. A request sent in between on a kept connection has an
// unknown outcome, as after any loss of the network.
package egress
