// Package integrity decides what an answer of Nowpay means and what of it may
// be passed on: does it belong to the request, can its outcome be believed,
// does it hold the key.
//
// # What it defends against
//
// Nowpay signs nothing, answers every business error with status 200, calls a
// transfer successful when it does not know, and may put debug output in
// front of the real answer. Something between us and Nowpay may mix answers
// up, or echo a request with the key in it.
//
// A status query adds its own traps: `success` is about the query, an unknown
// or an old transaction is an empty list, and ids are matched by their beginning.
//
// # Invariants
//
//   - Only an answer that passes every check is [nowpay.Success], and only
//     one that says so unmistakably is [nowpay.Failed] or [nowpay.Refused].
//     All doubt is [nowpay.Unknown] or, where money may yet move,
//     [nowpay.Pending].
//   - A body is passed on only if there is no finding but [KeyLeak]; without
//     a leak it is passed on byte for byte.
//   - Nothing in a [Verdict] or [StatusVerdict] holds the key in a form that
//     [FindLeak] knows.
//   - What a status answer says counts only for the one row whose ids are the
//     transaction's. No row, or a refusal of the query, is never "failed".
//   - Check and CheckStatus depend on their arguments alone: no clock, no log,
//     no state. They may be called concurrently. Working memory that holds the
//     key or an encoding of it is overwritten before they return.
package integrity
