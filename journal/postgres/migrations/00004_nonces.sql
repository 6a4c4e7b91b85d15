-- +goose Up
CREATE TABLE nonces (
	id      BYTEA  NOT NULL PRIMARY KEY,
	expires BIGINT NOT NULL
);

CREATE INDEX nonces_expires ON nonces (expires); -- to delete them
