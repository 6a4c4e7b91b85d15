package httpsig

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// Policy says which signatures are accepted. The zero value accepts none, since it
// knows no key.
type Policy struct {
	// Label names the signature. Empty: there must be exactly one.
	Label string
	// Components must be covered; more may be.
	Components []Component
	// Keys are those of a key ID that may have signed, with their algorithms, in the
	// order in which they are tried. The key ID is "" if the signature names none.
	Keys func(keyID string) []VerifyingKey
	// Now is the time by which a signature is fresh: created not longer than MaxAge
	// ago, nor more than Skew in the future, and expired not longer than Skew ago.
	Now time.Time
	// MaxAge of a signature, which must then say when it was created. 0: any age.
	MaxAge time.Duration
	Skew   time.Duration
	// Tag that the signature must have. Empty: any or none.
	Tag string
	// NeedNonce refuses signatures without one.
	NeedNonce bool
	// Lists makes it cheaper to verify many that cover the same components. Nil: each
	// is read in full.
	Lists *Lists
}

// Verified is what a good signature says.
type Verified struct {
	Label      string
	KeyID      string
	Nonce      string
	Tag        string
	Created    time.Time // zero: it does not say
	Expires    time.Time // zero: never
	Components []Component
	// Signature is not the only one that fits the message for ECDSAP256SHA256 and
	// RSAPSSSHA512: it does not tell whether a message came before.
	Signature []byte

	base []byte
}

// Covers reports whether all components are among those that are signed.
func (v Verified) Covers(components ...Component) bool {
	for _, c := range components {
		if !contains(v.Components, c) {
			return false
		}
	}
	return true
}

// Why a signature is not accepted.
var (
	ErrMissing      = errors.New("there is no signature")
	ErrMalformed    = errors.New("the signature fields cannot be read")
	ErrUnknownKey   = errors.New("the key is not known")
	ErrAlgorithm    = errors.New("the algorithm is not the key's")
	ErrNotCovered   = errors.New("a component is not signed that must be")
	ErrNotFresh     = errors.New("the signature is not fresh")
	ErrWrong        = errors.New("the signature is wrong")
	ErrWrongDigest  = errors.New("the body is not the one that is signed")
	ErrNoDigest     = errors.New("there is no digest of the body that is understood")
	ErrWrongPurpose = errors.New("the signature is for something else")
)

// Verify checks the signature of a message by the policy. It does not look at the
// body: see [CheckDigest]. Its errors wrap one of those above, and quote nothing of
// the message but components. An error of a key that could not find out is wrapped
// alone.
//
// A component that is covered and that the message does not have makes the signature
// wrong: the error wraps [ErrWrong] and [ErrNoValue]. A signature without the nonce
// that it needs, or without a time of creation, is not fresh.
func Verify(ctx context.Context, m *Message, p Policy) (Verified, error) {
	r, ok := p.Lists.quick(m.Header, p.Label)
	if !ok {
		var err error
		if r, err = read(m.Header, p.Label); err != nil {
			return Verified{}, err
		}
		p.Lists.remember(&r, m.Header)
	}
	if err := p.admit(&r); err != nil {
		return Verified{}, err
	}
	keys, err := p.keys(&r)
	if err != nil {
		return Verified{}, err
	}
	if len(r.Signature) == 0 {
		return Verified{}, fmt.Errorf("%w: it is empty", ErrWrong)
	}
	base, err := appendBase(make([]byte, 0, baseBytes), m, r.Components, r.params)
	if err != nil {
		return Verified{}, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	for _, k := range keys {
		if err = k.Verify(ctx, base, r.Signature); err == nil {
			r.base = base
			return r.Verified, nil
		}
		if !errors.Is(err, ErrWrong) {
			return Verified{}, fmt.Errorf("verifying with %s: %w", k.Algorithm(), err)
		}
	}
	return Verified{}, err
}

// Identity is the same for two good signatures if, and only if, they are over the same
// values with the same parameters. Their bytes are not: of some algorithms, anyone can
// make another signature that is as good.
func (v Verified) Identity() [sha256.Size]byte { return sha256.Sum256(v.base) }

// received is a signature that was read and not checked yet.
type received struct {
	Verified

	alg    *string // nil: it names none
	params string  // as they are signed
}

// admit checks what a signature says of itself.
func (p *Policy) admit(r *received) error {
	for _, c := range p.Components {
		if !contains(r.Components, c) {
			return fmt.Errorf("%w: %s", ErrNotCovered, c)
		}
	}
	if p.Tag != "" && r.Tag != p.Tag {
		return fmt.Errorf("%w: its tag is another one", ErrWrongPurpose)
	}
	switch {
	case r.Created.IsZero() && p.MaxAge != 0:
		return fmt.Errorf("%w: it does not say when it was created", ErrNotFresh)
	case !r.Created.IsZero() && p.MaxAge != 0 && p.Now.Sub(r.Created) > p.MaxAge:
		return fmt.Errorf("%w: it was created too long ago", ErrNotFresh)
	case !r.Created.IsZero() && r.Created.Sub(p.Now) > p.Skew:
		return fmt.Errorf("%w: it was created in the future", ErrNotFresh)
	case !r.Expires.IsZero() && p.Now.Sub(r.Expires) > p.Skew:
		return fmt.Errorf("%w: it has expired", ErrNotFresh)
	case p.NeedNonce && r.Nonce == "":
		return fmt.Errorf("%w: it has no nonce", ErrNotFresh)
	}
	return nil
}

// keys are those that may have made a signature.
func (p *Policy) keys(r *received) ([]VerifyingKey, error) {
	var all []VerifyingKey
	if p.Keys != nil {
		all = p.Keys(r.KeyID)
	}
	if len(all) == 0 {
		return nil, ErrUnknownKey
	}
	if r.alg == nil {
		return all, nil
	}
	var fitting []VerifyingKey
	for _, k := range all {
		if a := k.Algorithm(); a.Known() && string(a) == *r.alg {
			fitting = append(fitting, k)
		}
	}
	if len(fitting) == 0 {
		return nil, ErrAlgorithm
	}
	return fitting, nil
}

// read finds the signature of a label, or the only one.
func read(h http.Header, label string) (received, error) {
	inputs, signatures := h["Signature-Input"], h["Signature"]
	input, err := parseDictionary(inputs)
	if err != nil {
		return received{}, fmt.Errorf("%w: Signature-Input: %w", ErrMalformed, err)
	}
	signature, err := parseDictionary(signatures)
	if err != nil {
		return received{}, fmt.Errorf("%w: Signature: %w", ErrMalformed, err)
	}
	labels := input.Names()
	if len(labels) > maxLabels {
		return received{}, fmt.Errorf("%w: there are more than %d signatures", ErrMalformed, maxLabels)
	}
	for _, l := range labels {
		if _, ok := signature.Get(l); !ok {
			return received{}, errLabels
		}
	}
	if len(labels) != len(signature.Names()) {
		return received{}, errLabels
	}
	if label == "" && len(labels) > 1 {
		return received{}, fmt.Errorf("%w: there is more than one signature", ErrMalformed)
	}
	if label == "" && len(labels) == 1 {
		label = labels[0]
	}
	list, ok := input.Get(label)
	if !ok {
		return received{}, ErrMissing
	}
	bytes, _ := signature.Get(label)
	r := received{Verified: Verified{Label: label}}
	if r.Signature, err = readSignature(bytes, signatures); err == nil {
		err = r.readInput(list)
	}
	if err != nil {
		return received{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, nil
}

var errLabels = fmt.Errorf("%w: Signature-Input and Signature do not have the same labels", ErrMalformed)

// readSignature wants base64 as it is written, so that one signature has one text.
func readSignature(m httpsfv.Member, lines []string) ([]byte, error) {
	item, ok := m.(httpsfv.Item)
	if !ok || len(item.Params.Names()) != 0 {
		return nil, errors.New("the signature is not a byte sequence")
	}
	signature, ok := item.Value.([]byte)
	if !ok {
		return nil, errors.New("the signature is not a byte sequence")
	}
	text := ":" + base64.StdEncoding.EncodeToString(signature) + ":"
	for _, line := range lines {
		if strings.Contains(line, text) {
			return signature, nil
		}
	}
	return nil, errors.New("the base64 of the signature is not canonical")
}

// readInput reads the components and the parameters.
func (r *received) readInput(m httpsfv.Member) error {
	list, ok := m.(httpsfv.InnerList)
	if !ok {
		return errors.New("the components are not a list")
	}
	if len(list.Items) > maxComponents {
		return fmt.Errorf("there are more than %d components", maxComponents)
	}
	r.Components = make([]Component, len(list.Items))
	for i, item := range list.Items {
		c, err := newComponent(item)
		if err != nil {
			return fmt.Errorf("component %d: %w", i+1, err)
		}
		r.Components[i] = c
	}
	if _, ok := duplicate(r.Components); ok {
		return errors.New("a component is there twice")
	}
	for _, name := range list.Params.Names() {
		value, _ := list.Params.Get(name)
		if err := r.readParameter(name, value); err != nil {
			return err
		}
	}
	if !r.Created.IsZero() && !r.Expires.IsZero() && r.Expires.Before(r.Created) {
		return errors.New("it expires before it is created")
	}
	tail, err := httpsfv.Marshal(list.Params)
	if err != nil {
		return errors.New("the parameters cannot be written anew")
	}
	r.params = writeParams(r.Components, tail)
	return nil
}

func (r *received) readParameter(name string, value any) error {
	switch name {
	case "created":
		return readTime(&r.Created, name, value)
	case "expires":
		return readTime(&r.Expires, name, value)
	case "nonce":
		return readText(&r.Nonce, name, value)
	case "keyid":
		return readText(&r.KeyID, name, value)
	case "tag":
		return readText(&r.Tag, name, value)
	case "alg":
		text, ok := value.(string)
		if !ok {
			return errors.New("alg is not a string")
		}
		r.alg = &text
		return nil
	default:
		return errors.New("there is a parameter that is not known")
	}
}

func readTime(t *time.Time, name string, value any) error {
	unix, ok := value.(int64)
	if !ok {
		return fmt.Errorf("%s is not an integer", name)
	}
	if unix < 0 || unix > maxUnix {
		return fmt.Errorf("%s is out of range", name)
	}
	*t = time.Unix(unix, 0)
	return nil
}

func readText(s *string, name string, value any) error {
	text, ok := value.(string)
	if !ok || text == "" || len(text) > maxText {
		return fmt.Errorf("%s is not a string of 1 to %d bytes", name, maxText)
	}
	*s = text
	return nil
}
