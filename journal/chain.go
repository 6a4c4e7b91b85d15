package journal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"time"
)

// encoder writes values so that no two different sequences of them read the same.
type encoder struct{ hash.Hash }

func (e encoder) number(n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)) //nolint:gosec // G115: the bits are what counts
	_, _ = e.Write(b[:])                        // a hash takes all
}

func (e encoder) bytes(b []byte) {
	e.number(int64(len(b)))
	_, _ = e.Write(b)
}

func (e encoder) text(s string) { e.bytes([]byte(s)) }

func (e encoder) time(t time.Time) { e.number(micros(t)) }

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
	e := encoder{sha256.New()}
	for _, s := range []string{
		t.ID, t.Account, t.RequestID, t.Merchant, t.Operation, string(t.State), t.ProviderID, t.Integrity, string(t.Reversed),
	} {
		e.text(s)
	}
	for _, n := range []int64{int64(t.Amount), int64(t.Day), int64(t.Attempt), int64(t.Version), t.KeyID} {
		e.number(n)
	}
	for _, at := range []time.Time{t.Attention, t.Created, t.Updated, t.Deadline} {
		e.time(at)
	}
	e.bytes(t.Fingerprint)
	e.bytes(t.Sealed)
	return e.Sum(nil)
}

// identity is a digest of what of a row never changes: whose payment of what it
// is. The content is bound to it, so that no row can be given another's answer.
func (t *Transaction) identity() []byte {
	e := encoder{sha256.New()}
	for _, s := range []string{t.ID, t.Account, t.RequestID, t.Merchant, t.Operation} {
		e.text(s)
	}
	e.number(int64(t.Amount))
	e.bytes(t.Fingerprint)
	return e.Sum(nil)
}

// mac is what the event's MAC must be, behind the MAC before it.
func (k *dataKey) mac(before []byte, v *Event) []byte {
	e := encoder{hmac.New(sha256.New, k.chain)}
	e.text("event")
	e.bytes(before)
	e.number(v.Chain)
	e.number(v.Number)
	e.text(v.Transaction)
	e.number(int64(v.Seq))
	e.time(v.At)
	for _, s := range []string{string(v.Kind), string(v.Cause), v.Actor, v.Reason, v.Evidence} {
		e.text(s)
	}
	e.bytes(v.Row)
	return e.Sum(nil)
}

// opening is what the opening of a chain must be, behind that of the one before.
func (k *dataKey) opening(before []byte, c *Chain) []byte {
	e := encoder{hmac.New(sha256.New, k.chain)}
	e.text("chain")
	e.bytes(before)
	e.number(c.ID)
	e.text(c.Gateway)
	e.time(c.Started)
	e.number(c.KeyID)
	e.text(c.Heads)
	return e.Sum(nil)
}

// sealing is over the head of a chain.
func (k *dataKey) sealing(c *Chain) []byte {
	e := encoder{hmac.New(sha256.New, k.chain)}
	e.text("head")
	e.number(c.ID)
	e.number(c.Number)
	e.bytes(c.MAC)
	return e.Sum(nil)
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
