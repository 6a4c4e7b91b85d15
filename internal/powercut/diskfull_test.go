//go:build linux

package powercut

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// TestDiskFull fills the journal's disk while merchants pay. What cannot be
// recorded must not be sent; when there is room again, it goes on.
func TestDiskFull(t *testing.T) {
	skipIfShort(t)
	w := newWorld(t)
	disk := smallDisk(t)
	file, keyFile := filepath.Join(disk, "journal.db"), filepath.Join(t.TempDir(), "journal.key")
	g := newGateway(t, "127.0.0.24", "sqlite "+file, keyFile, w.provider.address)
	w.gateways = []*gateway{g}
	const times = 4
	w.run(func() {
		probe := w.newMerchant()
		for i := range times {
			probe.probe(t, "payments before the disk is full", func(o *order) bool { return o.definite() })
			fill(t, disk)
			refused := func(o *order) bool { return o.last().problem == "journal-unavailable" }
			probe.probe(t, "payments to be refused", refused)
			if i%2 == 1 { // it also starts on a full disk
				g.cut()
				g.start()
				g.serves()
				probe.probe(t, "payments to be refused after a start", refused)
			}
			empty(t, disk)
		}
		probe.probe(t, "payments at the end", func(o *order) bool { return o.definite() })
	}, nil)
	w.compare(sqlite.New(file), keyFile)
	checkFile(t, file)
}

// smallDisk is one that is soon full, but not by the journal alone, whose log may
// have 64 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("powercut", folder, "tmpfs", 0, "size=160m,mode=0700"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mounting a small disk, which takes root: %v", err)
		}
		t.Skipf("mounting a small disk, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Errorf("unmounting the small disk: %v", err)
		}
	})
	return folder
}

const filler = "filler"

// fill leaves no room on the disk.
func fill(t *testing.T, disk string) {
	file, err := os.Create(filepath.Join(disk, filler))
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("filling the disk: %v", err)
	}
}

// empty makes room again.
func empty(t *testing.T, disk string) {
	if err := os.Remove(filepath.Join(disk, filler)); err != nil {
		t.Error(err)
	}
}

// probe sends new orders, once each, until what is waited for happens to one.
func (m *merchant) probe(t *testing.T, what string, happens func(*order) bool) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && !t.Failed(); {
		o := m.order()
		o.operation, o.kind = payout, "success"
		if m.send(t.Context(), o); happens(o) {
			return
		}
		m.pause(t.Context(), betweenTimes)
	}
	t.Errorf("timed out waiting for %s", what)
}
