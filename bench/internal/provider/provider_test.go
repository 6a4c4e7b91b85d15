package provider

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	p := &provider{paid: make(map[string]struct{})}
	here, there := net.Pipe()
	go p.answerAll(there)
	defer here.Close()
	post := func(path, header, id, rest string) {
		t.Helper()
		body := `{"yourrequestid":"` + id + `"` + rest + `}`
		text := "POST /api/" + path + " HTTP/1.1\r\n" + header + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
		if _, err := io.WriteString(here, text); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 4096)
		n, err := here.Read(buffer)
		if got := string(buffer[:n]); err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, string(AppendAnswer(nil, []byte(id)))) {
			t.Fatalf("answered %q, %v", got, err)
		}
	}
	post("bank/quote", "", "A1", "")
	post("bank/quote", "", "A1", "")
	post("bank/payout", "X-Signature: x\r\n", "A1", "")
	post("bank/payout", "", "A2", `,"key":"`+Key+`"`)
	if got := [3]int64{p.received.Load(), p.proven.Load(), p.repeated.Load()}; got != [3]int64{4, 2, 0} {
		t.Errorf("received, proven, repeated: %v, want 4, 2, 0", got)
	}
	post("bank/payout", "", "A2", "")
	if got := p.repeated.Load(); got != 1 {
		t.Errorf("repeated: %d, want 1", got)
	}
}
