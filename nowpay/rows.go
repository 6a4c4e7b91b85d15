package nowpay

import "github.com/go-json-experiment/json/jsontext"

// Objects reads the objects of an array out of a [Body], each as strictly as [ParseJSON] does, nested 32
// levels at most. What is no array, or has an element that is no object, is [ErrMalformed].
func (v Value) Objects() ([]*Body, error) {
	if v.Kind != Array {
		return nil, malformed("not an array")
	}
	dec := newDecoder(v.Raw)
	defer dec.free()
	if _, err := dec.ReadToken(); err != nil {
		return nil, malformed(reason(v.Raw, err))
	}
	var objects []*Body
	for dec.PeekKind() != jsontext.KindEndArray {
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, malformed(reason(v.Raw, err))
		}
		end := dec.offset()
		start := end - len(raw)
		object, err := ParseJSON(v.Raw[start:end:end], Limits{Bytes: len(raw)})
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}
