// Package gateway is one exchange, from a merchant's request to the provider
// and back: identify, admit, sign, send, check, answer. [Gateway.Exchange]
// reads top to bottom; every step is a room of its own that knows nothing of
// the others.
//
// # What always holds
//
//   - Nothing is sent before the caller is identified, its address, the
//     operation and the amount are allowed, and the body has been read strictly.
//   - A request is sent at most once. Whether a byte has left is known, not
//     guessed: only then does an answer say "not sent".
//   - An operation that moves money is never answered with a failure unless the
//     provider said so in an answer that belongs to the request. Everything
//     unclear is answered as pending.
//   - Once sending has begun, a merchant that hangs up changes nothing: the
//     exchange is carried on to its end and recorded.
//   - The key is in the signed request and nowhere else.
package gateway
