package httpsig

import (
	"net/http"
	"reflect"
	"testing"
)

// FuzzQuick: what is read quickly reads the same in full.
func FuzzQuick(f *testing.F) {
	const list = `("@status" "content-digest" "signature";req;key="sig1")`
	for _, tail := range []string{
		`;created=1795687200;keyid="2000"`, `;created=1;expires=2;nonce="n";alg="ed25519";keyid="k";tag="t"`, "", ";created=01", ";created=-1",
		`;keyid="a\"b"`, `;keyid="a";keyid="b"`, `;created=1, sig2=()`, `;a`, `;created="1"`, `;keyid=1`, `;keyid=""`, `;created=1 `, `;expires=1;created=2`, ";created=1.0", ";created=99999999999999999999",
	} {
		f.Add("sig1="+list+tail, "sig1=:c2ln:", "sig1")
		f.Add("sig1="+list+tail, "sig1=:c2ln:", "")
	}
	f.Add("sig1="+list, "sig1=:c2lnb:", "")
	f.Add("sig1="+list, "sig1=:c2ln:, sig2=:c2ln:", "")
	f.Add("Sig1="+list, "Sig1=:c2ln:", "")
	f.Add("a="+list+";created=1", "a=::", "a")
	f.Fuzz(func(t *testing.T, input, signature, label string) {
		var lists Lists
		known := http.Header{"Signature-Input": {"sig1=" + list + ";created=1"}, "Signature": {"sig1=:c2ln:"}}
		first, err := read(known, "")
		if err != nil {
			t.Fatal(err)
		}
		lists.remember(&first, known)
		if lists.last.Load() == nil {
			t.Fatal("nothing is remembered")
		}
		h := http.Header{"Signature-Input": {input}, "Signature": {signature}}
		quick, ok := lists.quick(h, label)
		if !ok {
			return
		}
		full, err := read(h, label)
		if err != nil || !reflect.DeepEqual(quick, full) {
			t.Errorf("%q, %q: quickly %+v, in full %+v, %v", input, signature, quick, full, err)
		}
	})
}

// TestQuick: the plain way is read quickly, and a list is remembered only if it was
// written as it is signed.
func TestQuick(t *testing.T) {
	for input, want := range map[string]bool{
		`sig1=("@status" "date");created=1;keyid="k"`:    true,
		`sig1=("@status"  "date");created=1;keyid="k"`:   false,
		`sig1=( "@status" "date" );created=1`:            false,
		`sig1=("@status" "date") ; created=1`:            false,
		`sig1=("@status" "date");created=1;keyid="a\"b"`: false,
	} {
		var lists Lists
		h := http.Header{"Signature-Input": {input}, "Signature": {"sig1=:c2ln:"}}
		r, err := read(h, "")
		if err == nil {
			lists.remember(&r, h)
		}
		if _, ok := lists.quick(h, ""); ok != want {
			t.Errorf("%s: quick %t, want %t (%v)", input, ok, want, err)
		}
	}
	if _, ok := (*Lists)(nil).quick(http.Header{}, ""); ok {
		t.Error("without a memory something is read quickly")
	}
}
