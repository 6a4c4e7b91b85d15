-- +goose Up
CREATE TABLE spending (
	merchant TEXT   NOT NULL,
	day      BIGINT NOT NULL,
	amount   BIGINT NOT NULL,
	PRIMARY KEY (merchant, day)
);

-- To sum up a merchant's day once. The day first: new rows are at the end.
CREATE INDEX transactions_day ON transactions (day, merchant);
