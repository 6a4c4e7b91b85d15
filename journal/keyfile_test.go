package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestMakeKeyFileTogether lets gateways make the same key file at the same time:
// as soon as it is there it is whole, and it stays the same.
func TestMakeKeyFileTogether(t *testing.T) {
	const rounds, gateways = 50, 4
	for range rounds {
		folder := filepath.Join(t.TempDir(), "nowpay")
		path := filepath.Join(folder, "journal.key")
		var making sync.WaitGroup
		for range gateways {
			making.Go(func() {
				if err := makeKeyFile(path); err != nil {
					t.Errorf("making the key file: %v", err)
				}
			})
		}
		var first []masterKey
		var err error
		for first == nil && !t.Failed() {
			if first, err = readKeyFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("reading the key file while it is made: %v", err)
			}
		}
		making.Wait()
		if t.Failed() {
			return
		}
		last, err := readKeyFile(path)
		if err != nil || len(last) != 1 || last[0].id != first[0].id {
			t.Fatalf("the key file has changed: %v", err)
		}
		if files, err := os.ReadDir(folder); err != nil || len(files) != 1 {
			t.Errorf("there are %d files in the folder (%v), want one", len(files), err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key file: %v %v, want it for its owner alone", info, err)
		}
	}
}
