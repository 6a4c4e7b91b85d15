package journal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
)

// openKeys reads the key file and the data keys, and makes the first ones of
// both where there are none.
func (j *Journal) openKeys(ctx context.Context) error {
	stored, err := j.options.Store.Keys(ctx)
	if err != nil {
		return err
	}
	if len(stored) == 0 {
		if err := j.isNew(ctx); err != nil {
			return err
		}
		if j.absent != nil { // tables, and nothing in them
			return j.absent
		}
		if err := makeKeyFile(j.options.KeyFile); err != nil {
			return fmt.Errorf("%w: %w", ErrKey, err)
		}
	}
	masters, err := readKeyFile(j.options.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the journal has data in it, but its key file %s is missing; restore it, or copy it from another gateway of this journal", ErrKey, j.options.KeyFile)
	}
	if err != nil {
		return err
	}
	j.keys.setMasters(masters)
	if len(stored) == 0 {
		if err := j.options.Store.Write(ctx, func(ctx context.Context, tx Tx) error { return j.addKey(ctx, tx, 1) }); err != nil {
			return err
		}
	}
	return j.loadKeys(ctx)
}

// isNew refuses to make a first data key for a journal that has something in it:
// its keys were deleted, and with them all that the journal can prove.
func (j *Journal) isNew(ctx context.Context) error {
	chains, err := j.options.Store.Chains(ctx)
	if err != nil {
		return err
	}
	some := len(chains) > 0
	for _, err := range j.options.Store.List(ctx, Filter{Limit: 1}) {
		if err != nil {
			return err
		}
		some = true
	}
	if some {
		return fmt.Errorf("%w: the journal has data in it, but its data keys are gone: restore the table data_keys, which the key file decrypts", ErrKey)
	}
	return nil
}

// addKey stores a new data key, unless another gateway was quicker.
func (j *Journal) addKey(ctx context.Context, tx Tx, id int64) error {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	defer clear(key)
	_, err := tx.AddKey(ctx, DataKey{ID: id, Wrapped: j.keys.wrap(id, key), Created: truncate(j.options.Now())})
	return err
}

// loadKeys takes in all data keys that are stored.
func (j *Journal) loadKeys(ctx context.Context) error {
	stored, err := j.options.Store.Keys(ctx)
	if err != nil {
		return err
	}
	for _, wrapped := range stored {
		if j.keys.find(wrapped.ID) != nil {
			continue
		}
		key, err := j.keys.load(wrapped)
		if err != nil {
			return err
		}
		j.keys.add(key)
	}
	return nil
}

// loadKey is for a data key that another gateway has added meanwhile.
func (j *Journal) loadKey(int64) error {
	ctx, cancel := context.WithTimeout(j.life, openTime)
	defer cancel()
	return j.loadKeys(ctx)
}

// RotateKeys reads the key file again. If its first key is a new one, all data
// keys are encrypted with it, and what is stored from now on gets a new data
// key; after that the keys behind the first may be taken out of the file. A
// gateway does that once for a new first key: others, whose file may still begin
// with another one, are not to turn it back for ever. The journal does this by
// itself now and then.
func (j *Journal) RotateKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	masters, err := readKeyFile(j.options.KeyFile)
	if err != nil {
		return err
	}
	stored, err := j.options.Store.Keys(ctx)
	if err != nil {
		return err
	}
	ring := keyring{masters: masters}
	var rewrapped []DataKey
	for _, wrapped := range stored {
		key, newest, err := ring.unwrap(wrapped)
		if err != nil {
			return err
		}
		if !newest {
			rewrapped = append(rewrapped, DataKey{ID: wrapped.ID, Wrapped: ring.wrap(wrapped.ID, key), Created: wrapped.Created})
		}
		clear(key)
	}
	j.keys.setMasters(masters)
	if len(rewrapped) > 0 && !j.keys.isRotated() {
		if err := j.rewrap(ctx, rewrapped, stored[len(stored)-1].ID+1); err != nil {
			return err
		}
	}
	j.keys.setRotated()
	return j.loadKeys(ctx)
}

// rewrap stores data keys anew, and adds one with the ID next.
func (j *Journal) rewrap(ctx context.Context, rewrapped []DataKey, next int64) error {
	o := &operation{done: make(chan struct{}), other: func(ctx context.Context, tx Tx) error {
		for _, key := range rewrapped {
			if err := tx.SetKey(ctx, key); err != nil {
				return err
			}
		}
		return j.addKey(ctx, tx, next)
	}}
	if err := j.submit(ctx, o); err != nil {
		return err
	}
	if o.err == nil {
		j.logger().Info("the journal's data keys are encrypted with the new first key of the key file", "keys", len(rewrapped))
	}
	return o.err
}

// chains are all there are, by ID.
func (j *Journal) chains(ctx context.Context) ([]Chain, error) {
	chains, err := j.options.Store.Chains(ctx)
	if n := len(chains); n > 0 && (chains[0].ID < 1 || chains[n-1].ID == math.MaxInt64) {
		return nil, fmt.Errorf("somebody has put chains from %d to %d into the journal, which no gateway opens: find out who, and restore the table chains",
			chains[0].ID, chains[n-1].ID)
	}
	return chains, err
}

// openChain opens the next chain, behind those that are there.
func (j *Journal) openChain(ctx context.Context) (Chain, error) {
	for {
		chains, err := j.chains(ctx)
		if err != nil {
			return Chain{}, err
		}
		var last Chain
		if len(chains) > 0 {
			last = chains[len(chains)-1]
		}
		heads, err := json.Marshal(unbound(chains))
		if err != nil {
			return Chain{}, fmt.Errorf("encoding the heads of chains: %w", err)
		}
		key := j.keys.newest()
		chain := Chain{
			ID: last.ID + 1, Gateway: j.options.Gateway, Started: truncate(j.options.Now()), KeyID: key.id, Heads: string(heads),
		}
		chain.Opening = key.opening(last.Opening, &chain)
		chain.MAC = chain.Opening
		chain.Sealing = key.sealing(&chain)
		var added bool
		err = j.options.Store.Write(ctx, func(ctx context.Context, tx Tx) error {
			added, err = tx.AddChain(ctx, chain)
			return err
		})
		if err != nil {
			return Chain{}, fmt.Errorf("opening a chain of events: %w", err)
		}
		if added {
			return chain, nil
		}
	}
}

// HostName names this machine, for [Options.Gateway].
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
