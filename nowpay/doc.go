// Package nowpay is the provider's language: which operations Nowpay has and what is known of each, what a
// request body must look like, what the field `success` of an answer means, and money as whole paise.
//
// It does no I/O, keeps no state and knows nothing of credentials, merchants or HTTP. All of it is safe for
// concurrent use, since nothing changes after it was made.
//
// # Threat model
//
// A body is read here once and then forwarded as it came, so whatever we understood must be what Nowpay
// understands. Everything that two readers could read differently is therefore refused, not cleaned:
// duplicate names at any depth, invalid UTF-8, lone surrogates, a byte order mark, data behind the object,
// and in forms every name that PHP would rewrite.
//
// # Invariants
//
//   - Bytes that we did not mean to change are not changed: [Body.Splice], [Body.Without],
//     [Body.WithText] and [Body.ReplaceValues] leave the rest of the body as it came.
//   - No error of this package holds a value or a name of a body; each may be shown to the merchant and logged.
//   - Unknown is never read as failed: [Scale.Read] gives [Unknown] for all that is not listed.
//   - The catalogue is data. [Documented] holds what the provider documents; all else is for the user to add.
package nowpay
