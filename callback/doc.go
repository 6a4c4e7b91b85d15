// Package callback reads callbacks: HTTP requests by which Nowpay says what became of a transaction. It
// believes nothing of what it reads; whether a callback may be acted upon is for others to decide.
//
// It does no I/O and keeps no state. All of it is safe for concurrent use, since nothing changes after it was
// made.
//
// # Threat model
//
// Callbacks carry no signature and no secret, and whoever gets through to us can make one up. Their form is
// not documented, so a [Shape] is data that the user can add and correct; in the reported one `orderId` is
// our id and `paytmOrderId` is Nowpay's. Whatever could be read in two ways is therefore refused: duplicate
// names, also in another letter case, what is no strict JSON or no strict form, and a body that two shapes
// read differently.
//
// # Invariants
//
//   - A [Callback] has an id. Its ids and its reference are printable and at most 256 bytes long.
//   - Only texts that a shape lists are an outcome; all others are [nowpay.Unknown], never failed.
//   - No error of [Table.Read] holds a value or a name out of a callback. It may hold names out of a shape.
//   - [Table.Read] depends on its arguments alone, does not change them, and keeps nothing of them.
package callback
