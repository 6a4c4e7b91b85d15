-- +goose Up

CREATE TABLE messages (
    id             TEXT    NOT NULL PRIMARY KEY,
    box            TEXT    NOT NULL,
    lane           TEXT    NOT NULL,
    transaction_id TEXT    NOT NULL,
    seq            INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    note           TEXT    NOT NULL,
    created        INTEGER NOT NULL,
    updated        INTEGER NOT NULL,
    due            INTEGER NOT NULL,
    tries          INTEGER NOT NULL,
    seen           INTEGER NOT NULL,
    key_id         INTEGER NOT NULL,
    sealed         BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- What waits in a lane, and since when: nothing else is read to claim or to count.
CREATE INDEX messages_waiting ON messages (box, lane, due, id, created) WHERE state = 'waiting';
CREATE INDEX messages_finished ON messages (updated) WHERE state <> 'waiting';
CREATE INDEX messages_transaction ON messages (transaction_id, box, seq);
CREATE INDEX messages_created ON messages (created, id);
