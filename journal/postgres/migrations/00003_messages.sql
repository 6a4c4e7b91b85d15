-- +goose Up
CREATE TABLE messages (
	id             TEXT   NOT NULL PRIMARY KEY,
	box            TEXT   NOT NULL,
	lane           TEXT   NOT NULL,
	transaction_id TEXT   NOT NULL,
	seq            BIGINT NOT NULL,
	kind           TEXT   NOT NULL,
	state          TEXT   NOT NULL,
	note           TEXT   NOT NULL,
	created        BIGINT NOT NULL,
	updated        BIGINT NOT NULL,
	due            BIGINT NOT NULL,
	tries          BIGINT NOT NULL,
	seen           BIGINT NOT NULL,
	key_id         BIGINT NOT NULL,
	sealed         BYTEA  NOT NULL
);

-- What waits in a lane, and since when: nothing else is read to claim or to count.
CREATE INDEX messages_waiting ON messages (box, lane, due, id, created) WHERE state = 'waiting';
CREATE INDEX messages_finished ON messages (updated) WHERE state <> 'waiting';
CREATE INDEX messages_transaction ON messages (transaction_id, box, seq);
CREATE INDEX messages_created ON messages (created, id);
