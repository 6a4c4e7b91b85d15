package nowpay

import (
	"bytes"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder is a jsontext decoder that is used again: its tables of names cost more to build than a body to read.
type decoder struct {
	*jsontext.Decoder
	in bytes.Buffer
}

var decoders = sync.Pool{New: func() any { return &decoder{Decoder: jsontext.NewDecoder(new(bytes.Buffer))} }}

// newDecoder reads from b itself, not from a copy, and does not write to it.
func newDecoder(b []byte) *decoder {
	d, _ := decoders.Get().(*decoder)
	d.in = *bytes.NewBuffer(b)
	d.Reset(&d.in)
	return d
}

// free lets go of the body before the decoder waits for the next.
func (d *decoder) free() {
	d.in = bytes.Buffer{}
	d.Reset(&d.in)
	decoders.Put(d)
}

// offset is behind what was read last.
func (d *decoder) offset() int { return int(d.InputOffset()) }
