package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxHeader  = 64 << 10 // bytes of all headers of one exchange
	maxInterim = 5        // 1xx answers before the real one
)

var (
	errHeaderTooLarge = fmt.Errorf("header of over %d KiB: %w", maxHeader>>10, ErrTooLarge)
	errMalformed      = errors.New("malformed answer")
)

// answerReader reads answers from one connection. It parses the head itself
// because [http.ReadResponse] hides what must be refused here, such as a
// Content-Length beside a Transfer-Encoding.
type answerReader struct {
	budget budgetReader
	buf    *bufio.Reader
	text   *textproto.Reader

	idleTime time.Duration // how long the last answer lets the connection idle
}

func newAnswerReader(r io.Reader) *answerReader {
	a := &answerReader{budget: budgetReader{src: r}}
	a.buf = bufio.NewReader(&a.budget)
	a.text = textproto.NewReader(a.buf)
	return a
}

// read reads one answer with a body of at most limit bytes. reusable tells
// that the answer itself permits another on the same connection; whether
// something follows it unasked is for the caller to find out.
func (a *answerReader) read(limit int64) (resp *Response, reusable bool, err error) {
	a.budget.left = maxHeader
	h, err := a.readHead()
	if err != nil {
		return nil, false, fmt.Errorf("reading the header: %w", err)
	}
	a.budget.left = math.MaxInt64 // the body's readers have bounds of their own
	body, delimited, err := a.readBody(h, limit)
	if err != nil {
		return nil, false, fmt.Errorf("reading the body: %w", err)
	}
	a.idleTime = h.idleTime()
	reusable = delimited && h.version == "HTTP/1.1" && !h.closes() && a.idleTime > 0
	return &Response{Status: h.status, Header: h.fields, Body: body}, reusable, nil
}

// head is an answer without its body.
type head struct {
	version string
	status  int
	fields  http.Header
}

// readHead reads the head of the final answer and skips those before it.
func (a *answerReader) readHead() (head, error) {
	for range maxInterim + 1 {
		line, err := a.text.ReadLine()
		if err != nil {
			return head{}, cut(err)
		}
		h, err := parseStatusLine(line)
		if err != nil {
			return head{}, err
		}
		fields, err := a.text.ReadMIMEHeader()
		if err != nil {
			return head{}, cut(err)
		}
		if h.status == http.StatusSwitchingProtocols {
			return head{}, fmt.Errorf("%w: it switches protocols, unasked", errMalformed)
		}
		if h.status >= 200 {
			h.fields = http.Header(fields)
			return h, nil
		}
	}
	return head{}, fmt.Errorf("%w: over %d interim answers", errMalformed, maxInterim)
}

func parseStatusLine(line string) (head, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	switch {
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		return head{}, fmt.Errorf("%w: it is not HTTP/1", errMalformed)
	case err != nil || len(code) != 3 || status < 100 || status > 599:
		return head{}, fmt.Errorf("%w: bad status line", errMalformed)
	}
	return head{version: version, status: int(status)}, nil
}

// closes reports whether the server will close the connection.
func (h *head) closes() bool {
	for _, value := range h.fields["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(option), "close") {
				return true
			}
		}
	}
	return false
}

// idleMargin is how much earlier than the server a connection is given up, so
// that a request does not cross with its closing.
const idleMargin = time.Second

// idleTime is how long the connection may idle: as long as the server says that
// it keeps it, less a margin, and never longer than the client's own limit.
func (h *head) idleTime() time.Duration {
	for _, value := range h.fields["Keep-Alive"] {
		for parameter := range strings.SplitSeq(value, ",") {
			name, seconds, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if n, err := strconv.ParseUint(seconds, 10, 16); err == nil && strings.EqualFold(name, "timeout") {
				return min(maxIdleTime, max(time.Duration(n)*time.Second-idleMargin, 0))
			}
		}
	}
	return maxIdleTime
}

// readBody reads the body as RFC 9112, section 6.3 has it, but takes what is
// ambiguous for an error. delimited tells that the answer said where it ends,
// and ended there.
func (a *answerReader) readBody(h head, limit int64) (body []byte, delimited bool, err error) {
	length, hasLength, err := h.contentLength()
	if err != nil {
		return nil, false, err
	}
	codings := h.fields["Transfer-Encoding"]
	if len(codings) > 0 {
		if hasLength || h.version != "HTTP/1.1" || len(codings) > 1 || !strings.EqualFold(codings[0], "chunked") {
			return nil, false, fmt.Errorf("%w: ambiguous or unknown transfer encoding", errMalformed)
		}
	}
	switch {
	case h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		return []byte{}, false, nil // servers err about what follows these: never reuse
	case len(codings) > 0:
		return a.readChunked(limit)
	case hasLength:
		return a.readExactly(length, limit)
	default:
		body, err = readAtMost(a.buf, limit)
		return body, false, err
	}
}

// contentLength returns the value of Content-Length, which may stand there
// more than once if it is always the same.
func (h *head) contentLength() (n int64, ok bool, err error) {
	values := h.fields["Content-Length"]
	if len(values) == 0 {
		return 0, false, nil
	}
	length, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
		return 0, false, fmt.Errorf("%w: bad content length", errMalformed)
	}
	return int64(length), true, nil
}

func (a *answerReader) readExactly(length, limit int64) ([]byte, bool, error) {
	if length > limit {
		return nil, false, bodyTooLarge(limit)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(a.buf, body); err != nil {
		return nil, false, cut(err)
	}
	return body, true, nil
}

func (a *answerReader) readChunked(limit int64) ([]byte, bool, error) {
	body, err := readAtMost(httputil.NewChunkedReader(a.buf), limit)
	if err != nil {
		return nil, false, err
	}
	a.budget.left = maxHeader
	end, err := a.buf.Peek(len(lineEnd))
	if err != nil {
		return nil, false, cut(err)
	}
	trailers := string(end) != lineEnd // nobody reads them, and not everybody agrees on their end
	if _, err := a.text.ReadMIMEHeader(); err != nil {
		return nil, false, cut(err)
	}
	return body, !trailers, nil
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, cut(err)
	}
	if int64(len(body)) == limit {
		if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
			return nil, bodyTooLarge(limit)
		} else if !errors.Is(err, io.EOF) {
			return nil, cut(err)
		}
	}
	return body, nil
}

func bodyTooLarge(limit int64) error {
	return fmt.Errorf("body of over %d bytes: %w", limit, ErrTooLarge)
}

// cut makes an error of reading fit to be logged: errors of parsers quote what
// they read, and an end is never expected where it is called.
func cut(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("connection closed by the server: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, ErrTooLarge), isNetwork(err):
		return err
	default:
		return errMalformed
	}
}

// budgetReader reads from src until left bytes are used up.
type budgetReader struct {
	src  io.Reader
	left int64
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errHeaderTooLarge
	}
	n, err := b.src.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
