// Package powercut tests the gateway's first promise: never pay twice, never
// lose a payment, never say "failed" of what is not known. And the second: a
// callback that was acknowledged is acted on, and a merchant is told what its
// answer did not tell.
//
// The gateway is the built command caddy in a process of its own, on SQLite, and
// two of them on one PostgreSQL. They are killed (SIGKILL) at random moments and
// started again, and so is the database. Meanwhile 64 merchants pay, each
// repeating a request with its request ID until the answer is definite. The
// simulated Nowpay does all that its faults can do with money, and is out of
// reach now and then. TestFirstStart cuts the power while the journal is made,
// TestDiskFull fills its disk.
//
// Then everything is settled that can be, every request is sent once more, the
// gateways end, and the provider's ledger, the journal and each answer that a
// merchant ever got are compared row by row ([TestAudit] lists what counts as a
// contradiction):
//
//   - doubles: executed more than once.
//   - lost: executed, and the journal does not say so.
//   - wrong: the journal or an answer contradicts the ledger, or an earlier
//     answer; an outcome is open that the gateway could know; somebody got
//     another's answer, or the key.
//
// The journal's own verification and SQLite's integrity check must find nothing.
// What may stay open is counted by the reason: there is no status operation, the
// provider itself says pending, or it knows no such transaction, which proves
// nothing.
//
// # Callbacks and notifications
//
// TestCallbacksSQLite and TestCallbacksPostgres do the same while the provider
// calls back, each once where callbacks settle payments and once where they only
// have the provider asked. Merchants ask nothing after an answer: they wait to be
// told, by a server that checks each notification with the official library, and
// now and then answers 500, hangs up or is slow. Callbacks come once, several
// times, late, after others or before the answer; some are junk or lie. One that
// meets a gateway that is down is never sent again. Where the provider can be
// asked, it also changes its mind, so that there are two notifications of one
// transaction. PostgreSQL stands still for longer than an exchange waits: merchants
// are then told that an outcome is not known which the gateway knows soon.
//
// When nothing waits any more, and besides all of the above ([TestCallbackAudit]
// lists what counts as a contradiction):
//
//   - lost: a callback was acknowledged and is not in the journal, or has not done
//     what it was for: settled its transaction, had the provider asked, or called
//     for a person where not both ids were known; a merchant was not told, or
//     refused what counts as delivered.
//   - wrong: a callback was refused or taken that should not have been; a
//     notification is not genuine, went to another merchant, came before an earlier
//     one of its transaction, under another id, or says something else than the
//     journal.
//
// A lease that a killed gateway held ends after minutes. Only the long version
// waits for that; the ordinary one makes due at the end what waits, by hand.
//
// # The long version
//
//	go test -race -timeout 24h -v ./internal/powercut -powercut.kills 20000
//
// -powercut.kills is how often gateways are killed in each test (200; a third of
// that in each half of those with callbacks), which stops earlier if the time runs
// out. -powercut.seed repeats a run's chances as far as that is possible: which
// payments, faults, pauses and moments, but not the order in which processes do
// their work. Each run prints its seed. Memory grows with the payments, by some
// kilobytes for each.
//
// # What it cannot show
//
// A process that is killed loses nothing that the system has taken, so a missing
// fsync is not found here: for that, the machine would have to lose its power.
// The tests are for Linux, and skipped with -short. TestDiskFull needs root.
package powercut
