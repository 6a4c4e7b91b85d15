package journal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"sync"
	"time"
)

// encoder writes values so that no two different sequences of them read the same.
type encoder []byte

func (e encoder) number(n int64) encoder {
	return binary.BigEndian.AppendUint64(e, uint64(n)) //nolint:gosec // G115: the bits are what counts
}

func (e encoder) bytes(b []byte) encoder { return append(e.number(int64(len(b))), b...) }

func (e encoder) text(s string) encoder { return append(e.number(int64(len(s))), s...) }

func (e encoder) time(t time.Time) encoder { return e.number(micros(t)) }

// usual is room for what most rows come to, so that it need not be allocated.
const usual = 1024

func (e encoder) digest() []byte {
	sum := sha256.Sum256(e)
	return sum[:]
}

// macKey makes MACs, HMAC-SHA256. Its key is worked in once. It is safe for
// concurrent use.
type macKey struct {
	mu   sync.Mutex
	hmac hash.Hash
	text encoder // kept for its room
}

func newMACKey(key []byte) *macKey { return &macKey{hmac: hmac.New(sha256.New, key)} }

// sum is the MAC over what write writes.
func (k *macKey) sum(write func(e encoder) encoder) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hmac.Reset()
	k.text = write(k.text[:0])
	_, _ = k.hmac.Write(k.text) // a hash takes all
	clear(k.text)
	return k.hmac.Sum(nil)
}

// micros is a time as stores keep it: microseconds since 1970, 0 for the zero
// time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// digest is over all of a row that only an event changes: not the schedule.
func (t *Transaction) digest() []byte {
	e := make(encoder, 0, usual)
	for _, s := range []string{
		t.ID, t.Account, t.RequestID, t.Merchant, t.Operation, string(t.State), t.ProviderID, t.Integrity, string(t.Reversed),
	} {
		e = e.text(s)
	}
	for _, n := range []int64{int64(t.Amount), int64(t.Day), int64(t.Attempt), int64(t.Version), t.KeyID} {
		e = e.number(n)
	}
	for _, at := range []time.Time{t.Attention, t.Created, t.Updated, t.Deadline} {
		e = e.time(at)
	}
	e = e.bytes(t.Fingerprint)
	e = e.bytes(t.Sealed)
	return e.digest()
}

// identity is a digest of what of a row never changes: whose payment of what it
// is. The content is bound to it, so that no row can be given another's answer.
func (t *Transaction) identity() []byte {
	e := make(encoder, 0, usual)
	for _, s := range []string{t.ID, t.Account, t.RequestID, t.Merchant, t.Operation} {
		e = e.text(s)
	}
	e = e.number(int64(t.Amount))
	e = e.bytes(t.Fingerprint)
	return e.digest()
}

// mac is what the event's MAC must be, behind the MAC before it.
func (k *dataKey) mac(before []byte, v *Event) []byte {
	return k.chain.sum(func(e encoder) encoder {
		e = e.text("event")
		e = e.bytes(before)
		e = e.number(v.Chain)
		e = e.number(v.Number)
		e = e.text(v.Transaction)
		e = e.number(int64(v.Seq))
		e = e.time(v.At)
		for _, s := range []string{string(v.Kind), string(v.Cause), v.Actor, v.Reason, v.Evidence} {
			e = e.text(s)
		}
		return e.bytes(v.Row)
	})
}

// opening is what the opening of a chain must be, behind that of the one before.
func (k *dataKey) opening(before []byte, c *Chain) []byte {
	return k.chain.sum(func(e encoder) encoder {
		e = e.text("chain")
		e = e.bytes(before)
		e = e.number(c.ID)
		e = e.text(c.Gateway)
		e = e.time(c.Started)
		e = e.number(c.KeyID)
		return e.text(c.Heads)
	})
}

// sealing is over the head of a chain.
func (k *dataKey) sealing(c *Chain) []byte {
	return k.chain.sum(func(e encoder) encoder {
		e = e.text("head")
		e = e.number(c.ID)
		e = e.number(c.Number)
		return e.bytes(c.MAC)
	})
}

// follow adds an event to the end of the chain, and completes it.
func (k *dataKey) follow(c *Chain, v *Event) {
	c.Number++
	v.Chain, v.Number = c.ID, c.Number
	v.MAC = k.mac(c.MAC, v)
	c.MAC = v.MAC
}

func (c *Chain) head() Head {
	return Head{c.ID, c.Gateway, c.Number, hex.EncodeToString(c.MAC)}
}

// heads are those in the chain's opening, none if somebody spoiled them: then
// the opening does not fit.
func (c *Chain) heads() (all []Head) {
	if json.Unmarshal([]byte(c.Heads), &all) != nil {
		return nil
	}
	return all
}

// unbound are the heads of chains as far as none of them has them in its
// opening. Put into that of the next one they vouch for each other: to turn one
// chain back takes to turn back or to delete all that were opened later.
func unbound(chains []Chain) []Head {
	bound := make(map[int64]int64) // number by chain
	for i := range chains {
		for _, head := range chains[i].heads() {
			bound[head.Chain] = max(bound[head.Chain], head.Number)
		}
	}
	heads := []Head{}
	for i := range chains {
		if chains[i].Number > bound[chains[i].ID] {
			heads = append(heads, chains[i].head())
		}
	}
	return heads
}
