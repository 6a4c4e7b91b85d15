// Package postgres keeps a journal in PostgreSQL, where several gateways share
// it.
//
// # What always holds
//
//   - What [Store.Write] has committed is on the server's disk, whatever the
//     server's default for synchronous_commit is; a stronger setting is kept. A
//     server that runs without fsync is logged as a warning.
//   - A batch's statements are sent together: as many as need no answer, and the
//     commit with the last of them. Two round trips record any number of intents.
//   - Rows are locked in the order of their keys, so that gateways wait for each
//     other rather than deadlock. A gateway that vanishes within a transaction
//     holds its locks for ten seconds.
//   - No error repeats the DSN, which holds a password, or a value of a row.
//   - After an error that wraps [journal.ErrUnavailable] all connections are made
//     anew: a server that was demoted, and answers but does not write, is left.
//
// # Which servers
//
// The SQL is plain: no functions, triggers, extensions, advisory or table locks.
// The tests run against PostgreSQL 15. CockroachDB and YugabyteDB were not run.
// What of the SQL is less than common, and what is known of it there, unproven:
//
//   - unnest of several arrays, also WITH ORDINALITY: both
//   - INSERT … ON CONFLICT (columns) DO NOTHING RETURNING: both
//   - INSERT … ON CONFLICT (columns) DO UPDATE SET … WHERE … RETURNING: both
//   - FOR UPDATE OF, FOR UPDATE SKIP LOCKED: both; in CockroachDB since 22.2
//   - partial indexes: both
//   - WITH x AS (UPDATE … RETURNING) SELECT: both
//   - set_config for one transaction, current_setting: both. In CockroachDB
//     synchronous_commit does nothing, and every commit is durable.
//   - READ COMMITTED: both; where it is off they run the transaction as
//     serialisable, and fail with 40001, which is [journal.ErrRetry].
//   - a row that is inserted and never committed as the lock of migrations: both
package postgres
