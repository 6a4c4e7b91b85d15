-- Times are microseconds since 1970; 0 is none. What an event says and who wrote
-- it is checked by the MACs of its chain, not by constraints: there are no
-- foreign keys, so that what was tampered with can still be read and found.

-- +goose Up

CREATE TABLE transactions (
    id          TEXT    NOT NULL PRIMARY KEY,
    account     TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,
    merchant    TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    amount      INTEGER NOT NULL, -- paise
    day         INTEGER NOT NULL, -- as in 20261126
    state       TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,
    provider_id TEXT    NOT NULL,
    integrity   TEXT    NOT NULL,
    reversed    TEXT    NOT NULL,
    attention   INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    deadline    INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    next_check  INTEGER NOT NULL,
    checks      INTEGER NOT NULL,
    key_id      INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL,
    sealed      BLOB    NOT NULL
) STRICT, WITHOUT ROWID; -- one tree less to find a row in, and to write

-- The request ID first: people look for it without knowing the account.
CREATE UNIQUE INDEX transactions_request ON transactions (request_id, account);

-- Of what somebody is to look at: few rows, and one tree for all who look for
-- them. A query uses it if it has the first four conditions, or one of the
-- others, to the letter. (With IN, SQLite would build a table of the states for
-- each row that it writes.)
CREATE INDEX transactions_watched ON transactions (next_check, state, created, attention)
    WHERE state = 'created' OR state = 'sent' OR state = 'pending' OR state = 'unknown'
        OR next_check <> 0 OR attention <> 0 OR reversed <> '';

CREATE INDEX transactions_provider ON transactions (provider_id) WHERE provider_id <> '';

CREATE TABLE events (
    position       INTEGER NOT NULL PRIMARY KEY, -- chain << 40 | number: one tree, only appended to
    chain          INTEGER NOT NULL,
    number         INTEGER NOT NULL,
    transaction_id TEXT    NOT NULL,
    seq            INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    cause          TEXT    NOT NULL,
    actor          TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    evidence       TEXT    NOT NULL,
    row_digest     BLOB    NOT NULL,
    mac            BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_transaction ON events (transaction_id, seq);

CREATE TABLE chains (
    id      INTEGER NOT NULL PRIMARY KEY,
    gateway TEXT    NOT NULL,
    started INTEGER NOT NULL,
    key_id  INTEGER NOT NULL,
    heads   TEXT    NOT NULL, -- JSON
    opening BLOB    NOT NULL,
    number  INTEGER NOT NULL,
    mac     BLOB    NOT NULL,
    sealing BLOB    NOT NULL
) STRICT;

CREATE TABLE data_keys (
    id      INTEGER NOT NULL PRIMARY KEY,
    wrapped BLOB    NOT NULL,
    created INTEGER NOT NULL
) STRICT;
