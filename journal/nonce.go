package journal

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"
)

// Nonce is a value that may be used once, such as that of a signed request.
type Nonce struct {
	Scope string // whose it is, such as a merchant and its key: other scopes have values of their own
	Value string
	// Expires is when nothing with this nonce is accepted any more, by whatever
	// gateway; from then on it may be forgotten.
	Expires time.Time
}

// NonceID stands for a scope and a value: a MAC, so that what is stored is small
// whatever they are, and tells nothing of them to those who have no key.
type NonceID [16]byte

// UsedNonce is the row of a nonce.
type UsedNonce struct {
	ID      NonceID
	Expires time.Time
}

// errTooLate refuses what may have been forgotten already.
var errTooLate = fmt.Errorf("%w, or may have been: it has expired", ErrReplayed)

// UseNonce records that a nonce was used, durably, before it returns nil: of all
// who use the same one before it expires, on whatever gateway, exactly one gets
// nil. The others get an error that wraps [ErrReplayed], as does everyone when it
// has expired. If nobody can tell, the error wraps [ErrUnavailable], and the nonce
// may have been used up. After any error, what came with it must be refused.
func (j *Journal) UseNonce(ctx context.Context, n Nonce) error {
	// Always by the first key: it is the same for all gateways, and for ever.
	key := j.keys.find(1)
	if key == nil {
		return errUnopened
	}
	o := &operation{nonce: &UsedNonce{ID: key.nonceID(n), Expires: truncate(n.Expires)}, done: make(chan struct{})}
	if err := j.submit(ctx, o); err != nil {
		return err
	}
	return o.err
}

func (k *dataKey) nonceID(n Nonce) NonceID {
	return NonceID(k.sum("nonce", fmt.Appendf(nil, "%d %s%s", len(n.Scope), n.Scope, n.Value))[:len(NonceID{})])
}

// PruneNonces deletes nonces that had expired by the time, at most limit, and
// returns how many. The time should be some minutes ago: a gateway whose clock is
// behind may accept them still.
func (j *Journal) PruneNonces(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	err = j.write(ctx, func(ctx context.Context, tx Tx) error {
		deleted, err = tx.DeleteNonces(ctx, before, limit)
		return err
	})
	return deleted, err
}

// useNonces adds nonces, and notes which operations are the first to use them.
func (b *batch) useNonces(ctx context.Context, tx Tx, operations []*operation) error {
	var rows []UsedNonce
	first := make(map[NonceID]*operation)
	for _, o := range operations {
		if o.nonce == nil || !o.nonce.Expires.After(b.now) || first[o.nonce.ID] != nil {
			continue
		}
		first[o.nonce.ID] = o
		rows = append(rows, *o.nonce)
	}
	// So that two gateways wait for each other in one order.
	slices.SortFunc(rows, func(x, y UsedNonce) int { return bytes.Compare(x.ID[:], y.ID[:]) })
	added, err := tx.AddNonces(ctx, rows, b.now)
	for _, id := range added {
		first[id].first = true
	}
	return err
}

// nonce decides on the use of a nonce.
func (b *batch) nonce(o *operation) error {
	switch {
	case o.first:
		return nil
	case !o.nonce.Expires.After(b.now):
		return errTooLate
	default:
		return ErrReplayed
	}
}

// refuseNonces takes nonces out of a batch without events, of which nothing tells
// whether it was committed: if it was and ran again, it would find its own ones.
func refuseNonces(operations []*operation, err error) []*operation {
	return slices.DeleteFunc(operations, func(o *operation) bool {
		if o.nonce != nil {
			o.finish(unavailable(err))
		}
		return o.nonce != nil
	})
}
