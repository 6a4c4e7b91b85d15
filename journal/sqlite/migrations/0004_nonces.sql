-- +goose Up

CREATE TABLE nonces (
    id      BLOB    NOT NULL PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX nonces_expires ON nonces (expires); -- to delete them
