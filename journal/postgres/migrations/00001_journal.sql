-- Times are microseconds since 1970; 0 is the zero time. Unset texts are ''.

-- +goose Up
CREATE TABLE transactions (
	id          TEXT   NOT NULL PRIMARY KEY,
	account     TEXT   NOT NULL,
	request_id  TEXT   NOT NULL,
	merchant    TEXT   NOT NULL,
	operation   TEXT   NOT NULL,
	amount      BIGINT NOT NULL,
	day         BIGINT NOT NULL,
	state       TEXT   NOT NULL,
	attempt     BIGINT NOT NULL,
	provider_id TEXT   NOT NULL,
	integrity   TEXT   NOT NULL,
	reversed    TEXT   NOT NULL,
	attention   BIGINT NOT NULL,
	created     BIGINT NOT NULL,
	updated     BIGINT NOT NULL,
	deadline    BIGINT NOT NULL,
	version     BIGINT NOT NULL,
	next_check  BIGINT NOT NULL,
	checks      BIGINT NOT NULL,
	key_id      BIGINT NOT NULL,
	fingerprint BYTEA  NOT NULL,
	sealed      BYTEA  NOT NULL
);

-- In this order: people look for a request ID without knowing its account.
CREATE UNIQUE INDEX transactions_request ON transactions (request_id, account);

-- Of millions of settled rows, these hold none.
CREATE INDEX transactions_due ON transactions (next_check, id) WHERE next_check <> 0;
CREATE INDEX transactions_open ON transactions (state, created)
	WHERE state IN ('created', 'sent', 'pending', 'unknown');
CREATE INDEX transactions_attention ON transactions (attention) WHERE attention <> 0;

CREATE INDEX transactions_provider ON transactions (provider_id) WHERE provider_id <> '';

CREATE TABLE events (
	chain          BIGINT NOT NULL,
	number         BIGINT NOT NULL,
	transaction_id TEXT   NOT NULL,
	seq            BIGINT NOT NULL,
	at             BIGINT NOT NULL,
	kind           TEXT   NOT NULL,
	cause          TEXT   NOT NULL,
	actor          TEXT   NOT NULL,
	reason         TEXT   NOT NULL,
	evidence       TEXT   NOT NULL, -- no JSON: its MAC is over the very bytes
	row_digest     BYTEA  NOT NULL,
	mac            BYTEA  NOT NULL,
	PRIMARY KEY (chain, number)
);
CREATE UNIQUE INDEX events_transaction ON events (transaction_id, seq);

CREATE TABLE chains (
	id      BIGINT NOT NULL PRIMARY KEY,
	gateway TEXT   NOT NULL,
	started BIGINT NOT NULL,
	key_id  BIGINT NOT NULL,
	heads   TEXT   NOT NULL, -- no JSON: its MAC is over the very bytes
	opening BYTEA  NOT NULL,
	number  BIGINT NOT NULL,
	mac     BYTEA  NOT NULL,
	sealing BYTEA  NOT NULL
);

CREATE TABLE data_keys (
	id      BIGINT NOT NULL PRIMARY KEY,
	wrapped BYTEA  NOT NULL,
	created BIGINT NOT NULL
);
