// Package journal is the durable record of transactions.
package journal
