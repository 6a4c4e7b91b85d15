//go:build linux

package memory

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pieceSize is the size of the pieces that a key is looked for in, one next to the
// other: whatever is twice as long, less one, holds one of them.
const pieceSize = 8

// forms are what a key can look like, by name. They are written down without the
// help of package integrity, whose own working memory is looked at too.
func forms(key string) map[string][][]byte {
	inJSON, err := json.Marshal(key)
	if err != nil {
		panic(err)
	}
	all := map[string][][]byte{
		"JSON":        {inJSON[1 : len(inJSON)-1]},
		"hexadecimal": {[]byte(hex.EncodeToString([]byte(key))), []byte(strings.ToUpper(hex.EncodeToString([]byte(key))))},
		"URL":         {[]byte(url.QueryEscape(key)), []byte(url.PathEscape(key))},
		"lower case":  {[]byte(strings.ToLower(key))},
	}
	for i := 0; i+pieceSize <= len(key); i += pieceSize {
		all["plain"] = append(all["plain"], []byte(key[i:i+pieceSize]))
	}
	for shift := range 3 { // the first and the last characters depend on what is around
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString([]byte("??"[:shift] + key))
			all["base64"] = append(all["base64"], []byte(text[2*shift:len(text)-1]))
		}
	}
	return all
}

// find names the forms in which the key is in a text, with what stands around the
// first of each.
func find(text []byte, key string) []string {
	var found []string
	for name, all := range forms(key) {
		for _, form := range all {
			if i := bytes.Index(text, form); i >= 0 {
				around := text[max(0, i-100):min(len(text), i+150)]
				found = append(found, fmt.Sprintf("%s at %d, %d times: %q", name, i, bytes.Count(text, form), around))
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// heap has the gateway dump its heap, and returns the dump.
func (w *world) heap() []byte {
	p := w.process
	p.t.Helper()
	p.tell("dump")
	file := filepath.Join(w.folder, "heap")
	dump, err := os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(dump, []byte("go1.7 heap dump\n")) {
		p.t.Fatalf("no heap dump of %d bytes: %v", len(dump), err)
	}
	if err := os.Remove(file); err != nil {
		p.t.Fatal(err)
	}
	return dump
}

// maxMapping is the largest mapping that is looked at: those of the race detector,
// which hold no data of the program, are terabytes.
const maxMapping = 1 << 30

// memory is all that the process may write to, as the kernel has it, besides what
// was never used.
func (p *process) memory() []byte {
	p.t.Helper()
	maps, err := os.Open(p.proc("maps"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(p.proc("mem"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer mem.Close()
	var all []byte
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil {
			continue // above what an int64 holds
		}
		if !strings.HasPrefix(rights, "rw") || to-from > maxMapping {
			continue
		}
		part := make([]byte, to-from)
		n, err := mem.ReadAt(part, from)
		if err != nil && !errors.Is(err, io.EOF) && n == 0 {
			continue // of a device, or gone
		}
		all = append(all, part[:n]...)
	}
	return all
}

// TestFind looks for a key in each of its forms, and in none.
func TestFind(t *testing.T) {
	t.Parallel()
	const key = `0f1e"2d3c\4b5a69+788796/a5b4c3`
	inJSON, _ := json.Marshal(key)
	for name, text := range map[string]string{
		"plain": key[5:20], "JSON": string(inJSON), "lower case": "K" + key, "URL": url.QueryEscape(key),
		"hexadecimal": hex.EncodeToString([]byte(key)), "base64": base64.StdEncoding.EncodeToString([]byte("x" + key + "yz")),
	} {
		if found := fmt.Sprint(find([]byte("before "+text+" after"), key)); !strings.Contains(found, name+" at") {
			t.Errorf("%s is not found: %s", name, found)
		}
	}
	if found := find([]byte(key[:7]+"."+key[8:15]), key); found != nil {
		t.Errorf("found in pieces that are too small: %q", found)
	}
}
