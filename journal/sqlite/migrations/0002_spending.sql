-- +goose Up

CREATE TABLE spending (
    merchant TEXT    NOT NULL,
    day      INTEGER NOT NULL,
    amount   INTEGER NOT NULL, -- paise
    PRIMARY KEY (merchant, day)
) STRICT, WITHOUT ROWID;

-- For the first sum of a day. The day first: what is added goes to its end.
CREATE INDEX transactions_day ON transactions (day, merchant);
