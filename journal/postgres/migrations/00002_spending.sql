-- +goose Up
CREATE TABLE spending (
	merchant TEXT   NOT NULL,
	day      BIGINT NOT NULL,
	amount   BIGINT NOT NULL,
	PRIMARY KEY (merchant, day)
);

INSERT INTO spending (merchant, day, amount)
	SELECT merchant, day, SUM(amount) FROM transactions
	WHERE state IN ('created', 'sent', 'success', 'pending', 'unknown')
	GROUP BY merchant, day;
