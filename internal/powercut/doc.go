// Package powercut tests the gateway's first promise: never pay twice, never
// lose a payment, never say "failed" of what is not known.
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
// # The long version
//
//	go test -race -timeout 24h -v ./internal/powercut -powercut.kills 20000
//
// -powercut.kills is how often gateways are killed in each test (200), which stops
// earlier if the time runs out. -powercut.seed repeats a run's chances as far as
// that is possible: which payments, faults, pauses and moments, but not the order
// in which processes do their work. Each run prints its seed. Memory grows with
// the payments, by some kilobytes for each.
//
// # What it cannot show
//
// A process that is killed loses nothing that the system has taken, so a missing
// fsync is not found here: for that, the machine would have to lose its power.
// The tests are for Linux, and skipped with -short. TestDiskFull needs root.
package powercut
