// Package journal is the durable record of transactions: exchanges of
// operations that move money. It decides whether a request ID was used before,
// what state a transaction is in, and how it came there.
//
// A [Journal] takes intents and changes, commits many that wait together in one
// transaction of its [Store], and answers each when it is durable. The rules are
// here and the same for every store; a store only keeps rows. There are two:
// journal/sqlite, a file of this process alone, and journal/postgres, a database
// that several gateways share.
//
// # What always holds
//
//   - An intent is durable before [Journal.Begin] returns it, and there is one
//     for each request ID of an account: the database says so, not memory.
//   - Only a transaction that is unsent, of which no byte has left for certain,
//     can be begun again.
//   - Of all who use a nonce before it expires exactly one is told that it is the
//     first ([Journal.UseNonce]).
//   - A final state is never overwritten but by an operator with a reason. What
//     the provider says otherwise is kept beside it.
//   - Every change is an event. Events are never changed or deleted. Each carries
//     the digest of the row it led to and a MAC over all events of its gateway
//     before it, so that [Journal.Verify] finds what was changed or deleted.
//   - What tells something about a person (the provider's answer, and fields that
//     a status query needs) is stored encrypted, and of the request's body only a
//     keyed fingerprint. The provider's key is never given to this package.
//
// # What happens when the database does not answer
//
// An intent that cannot be written fails with [ErrUnavailable], and nothing may
// be sent for it. If it was perhaps written all the same, the journal marks it
// unsent as soon as it can. A change that cannot be written is kept in memory and
// written as soon as that is possible; a process that ends before leaves the
// transaction sent, and it becomes unknown at its deadline, which is in the row.
package journal
