-- +goose Up

CREATE TABLE spending (
    merchant TEXT    NOT NULL,
    day      INTEGER NOT NULL,
    amount   INTEGER NOT NULL, -- paise
    PRIMARY KEY (merchant, day)
) STRICT, WITHOUT ROWID;

INSERT INTO spending (merchant, day, amount)
    SELECT merchant, day, sum(amount) FROM transactions
    WHERE state IN ('created', 'sent', 'success', 'pending', 'unknown')
    GROUP BY merchant, day;
