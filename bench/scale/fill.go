package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	_ "modernc.org/sqlite" // the driver
)

// inserts make final transactions with one event each, which nobody looks at again.
// Their request IDs are in no order, as those of many merchants. What encrypts and
// chains them is made up: the gateway verifies when it is told to, not when it reads.
var inserts = []string{
	`INSERT INTO transactions SELECT printf('01A%023d', value), 'main', lower(hex(randomblob(8))), 'm0', 'bank/payout', 150, 20261101, 'success', 1,
		'N' || hex(randomblob(8)), 'verified', '', 0, 1793500000000000 + value, 1793500000000000 + value, 1793500120000000 + value, 2, 0, 0, 1,
		randomblob(32), randomblob(400)
		FROM numbers`,
	`INSERT INTO events SELECT (1 << 40) + 1000000 + value, 1, 1000000 + value, printf('01A%023d', value), 1, 1793500000000000 + value, 'created', 'exchange', '', '',
		'{"provider_status":200,"egress_address":"127.0.0.5","credential_version":1}', randomblob(32), randomblob(32)
		FROM numbers`,
}

// pages counts the bytes in use of a journal, with those that are in its log.
func pages(ctx context.Context, file string) (bytes float64, err error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return 0, fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	const used = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
	if err := db.QueryRowContext(ctx, used).Scan(&bytes); err != nil {
		return 0, fmt.Errorf("reading the journal's size: %w", err)
	}
	return bytes, nil
}

// fill puts transactions into the journal of a gateway that is stopped.
func fill(ctx context.Context, file string, transactions int) (err error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // the settings are its own
	for _, setting := range []string{"synchronous = OFF", "cache_size = -262144"} {
		if _, err := db.ExecContext(ctx, "PRAGMA "+setting); err != nil {
			return fmt.Errorf("preparing the journal: %w", err)
		}
	}
	const batch = 100_000
	for from := 0; from < transactions; from += batch {
		numbers := fmt.Sprintf("WITH RECURSIVE numbers(value) AS (SELECT %d UNION ALL SELECT value + 1 FROM numbers WHERE value + 1 < %d) ", from, min(from+batch, transactions))
		for _, insert := range inserts {
			if _, err := db.ExecContext(ctx, numbers+insert); err != nil {
				return fmt.Errorf("filling the journal: %w", err)
			}
		}
	}
	if _, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}
