package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// smallDisk mounts a disk of that many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	folder := t.TempDir()
	err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size)
	need(t, err == nil, "the right to mount a small disk (root)")
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Errorf("unmounting the small disk: %v", err)
		}
	})
	return folder
}

// A full disk refuses batches as a whole, reads go on, and so do writes as soon
// as there is room.
func TestFullDisk(t *testing.T) {
	folder := smallDisk(t, "4m")
	ballast := filepath.Join(folder, "ballast")
	check(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600))
	store := open(t, filepath.Join(folder, "journal.db"))
	defer func() { check(t, store.Close()) }()

	rows := 0
	add := func(n int) error {
		var batch []journal.Transaction
		for i := range n {
			row := journaltest.NewTransaction(rows + i)
			row.Sealed = make([]byte, 8<<10)
			batch = append(batch, row)
		}
		err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			_, err := tx.Insert(ctx, batch)
			return err
		})
		if err == nil {
			rows += n
		}
		return err
	}
	var err error
	for err == nil {
		if rows > 1000 {
			t.Fatal("the disk is never full")
		}
		err = add(5)
	}
	for range 3 {
		if !errors.Is(err, journal.ErrUnavailable) || !strings.Contains(err.Error(), "full") {
			t.Errorf("Write() on a full disk = %v, want %v that says so", err, journal.ErrUnavailable)
		}
		checkRows(t, store, rows)
		err = add(5)
	}
	check(t, os.Remove(ballast))
	check(t, add(5))
	checkRows(t, store, rows)
}

func TestFullDiskAtOpen(t *testing.T) {
	folder := smallDisk(t, "64k")
	check(t, os.WriteFile(filepath.Join(folder, "ballast"), make([]byte, 48<<10), 0o600))
	store := sqlite.New(filepath.Join(folder, "journal.db"))
	if err := store.Open(t.Context()); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Open() on a full disk = %v, want %v", err, journal.ErrUnavailable)
	}
}

// A disk that is read-only, as Linux makes it after errors of the medium, is a
// clear error, and no harm is done.
func TestReadOnlyDisk(t *testing.T) {
	folder := smallDisk(t, "16m")
	path := filepath.Join(folder, "journal.db")
	store := open(t, path)
	check(t, insert(t.Context(), store, 1))
	check(t, store.Close())
	check(t, syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	store = sqlite.New(path)
	if err := store.Open(t.Context()); !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		t.Errorf("Open() on a read-only disk = %v, want %v", err, syscall.EROFS)
	}
	check(t, syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, ""))
	check(t, store.Open(t.Context()))
	checkRows(t, store, 1)
	check(t, store.Close())
}

// Under constant load the log is cut again and again.
func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	store := open(t, path)
	defer func() { check(t, store.Close()) }()
	row := journaltest.NewTransaction(1)
	check(t, insert(t.Context(), store, 1))
	for i := range 300 {
		row.Sealed = bytes.Repeat([]byte{byte(i)}, 1<<20) // SQLite writes only what differs
		check(t, store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			return tx.Update(ctx, []journal.Transaction{row})
		}))
	}
	info, err := os.Stat(path + "-wal")
	check(t, err)
	if info.Size() > 128<<20 {
		t.Errorf("after 300 MiB the log has %d MiB", info.Size()>>20)
	}
}
