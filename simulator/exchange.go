package simulator

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// indexPath is the only program that there is.
	indexPath = "/api/index.php"
	// maxBody is PHP's post_max_size; what is longer is no fields at all.
	maxBody = 8 << 20
	// defaultDelay is how long Slow takes if it isn't told.
	defaultDelay = 2 * time.Second
)

// exchange is one request on its way through the provider.
type exchange struct {
	op      *operation
	request *http.Request // for its headers; the body is read
	target  string
	fields  fields
	ip      netip.Addr
	now     time.Time

	username, key string
	by            Credential // what protected the request; none without a security

	fault     Fault
	faultErr  error // the request asks for a fault that does not exist
	behaviour behaviour
	dies      bool // the connection was marked by KeepAliveDeath

	books *books
	entry *Entry // nil until a transaction is created
	state State  // what the answer says became of it
	// first ends before the answer is written, if it is not nil.
	first <-chan Callback
}

// response is an answer before it is written.
type response struct {
	status    int
	header    http.Header
	body      []byte
	chunked   bool // don't announce the length
	truncated bool // announce it, and send half
}

// page makes the response an HTML page of the web server.
func (r *response) page(status int) {
	r.status = status
	r.header.Set("Content-Type", "text/html; charset=iso-8859-1")
	r.body = fmt.Appendf(nil, "<html><head><title>%d %s</title></head><body><h1>%[2]s</h1></body></html>\n", status, http.StatusText(status))
}

// serve answers one request: all that concerns the books happens in handle,
// under the lock; what takes time happens here.
func (s *Simulator) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	x, resp := s.handle(r, body, err == nil && len(body) <= maxBody)
	b := x.behaviour
	switch {
	case b.before != nil:
		b.before(s, w, r)
		return
	case x.dies:
		hangUp(s, w, r)
		return
	case b.send != nil:
		b.send(s, w, r)
		return
	case b.kind == Slow && !s.wait(r, x.fault.Delay):
		hangUp(s, w, r)
		return
	case x.first != nil:
		<-x.first // ends by its timeout, if not earlier
	}
	resp.write(w)
}

// wait sleeps, and reports false if client or simulator end first.
func (s *Simulator) wait(r *http.Request, d time.Duration) bool {
	if d == 0 {
		d = defaultDelay
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.closed:
	}
	return false
}

func (r *response) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	w.Header().Set(Header, "1")
	if !r.chunked {
		w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	}
	w.WriteHeader(r.status)
	body := r.body
	if r.truncated {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body) //nolint:gosec // G705: not for browsers. A client that is gone is nobody's error
	if r.truncated {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // net/http's way to cut an answer short
	}
}

// handle does all of the exchange that the books, faults and memory take part
// in. A body that isn't whole has no fields. The response is nil if the fault
// ends the request beforehand.
func (s *Simulator) handle(r *http.Request, body []byte, whole bool) (*exchange, *response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.read(r, body, whole)
	s.settle(x.now)
	s.chooseFault(x, r.RemoteAddr)
	s.remember(x, r, body)
	if x.behaviour.before != nil {
		return x, nil
	}
	resp := &response{status: http.StatusOK, header: http.Header{}}
	resp.header.Set("Content-Type", "application/json")
	resp.header.Set("X-Powered-By", "PHP/7.4.33")
	if x.op == nil {
		resp.page(http.StatusNotFound)
		return x, resp
	}
	resp.body = s.answer(x).append(nil)
	x.first = s.callBackFirst(x)
	if x.behaviour.rewrite != nil {
		x.behaviour.rewrite(x, resp)
	}
	s.seal(x, resp)
	return x, resp
}

// read finds the operation and the fields, as index.php does: other methods
// than POST run the same program, which then finds no fields.
func (s *Simulator) read(r *http.Request, body []byte, whole bool) *exchange {
	x := &exchange{request: r, target: r.RequestURI, now: s.config.Now(), books: s.books}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.ip = peer.Addr().Unmap()
	}
	if r.URL.Path == indexPath {
		x.op = byName[route(r)]
	}
	if x.op == nil || r.Method != http.MethodPost || !whole {
		return x
	}
	plain, media, by := s.open(r, body)
	x.by = by
	switch {
	case x.op.form && media == "application/x-www-form-urlencoded":
		x.fields = readForm(plain)
	case !x.op.form && media == "application/json":
		x.fields = readJSON(plain)
	}
	x.username, x.key = x.fields.text("username"), x.fields.text("key")
	if s.security != nil {
		x.key = by.Key // which nobody sends
	}
	return x
}

// route is the operation's name in the query, the last one if there are several.
func route(r *http.Request) string {
	routes := r.URL.Query()["route"]
	if len(routes) == 0 {
		return ""
	}
	name, _ := strings.CutPrefix(routes[len(routes)-1], "/api/")
	return name
}

// requestID is the partner's id, "" if the call has none.
func (x *exchange) requestID() string {
	if x.op == nil || x.op.requestID == "" {
		return ""
	}
	return x.fields.text(x.op.requestID)
}

// chooseFault decides how the provider behaves to this request.
func (s *Simulator) chooseFault(x *exchange, peer string) {
	if x.op == nil {
		return
	}
	if _, x.dies = s.faults.dying[peer]; x.dies {
		delete(s.faults.dying, peer)
		x.fault.Kind = KeepAliveDeath
	} else {
		x.fault, x.faultErr = s.faults.choose(x.op.name, x.requestID(), x.fields)
		if x.fault.Kind == KeepAliveDeath {
			s.faults.dying[peer] = struct{}{}
		}
	}
	x.behaviour = byKind[x.fault.Kind]
}

// remember keeps the request without the key.
func (s *Simulator) remember(x *exchange, r *http.Request, body []byte) {
	cut := s.redactor
	if len(x.key) >= shortKey && !slices.Contains(s.keys, x.key) {
		cut = newRedactor(append([]string{x.key}, s.keys...)...)
	}
	target := r.RequestURI
	if path, query, ok := strings.Cut(target, "?"); ok {
		target = path + "?" + cutForm(query)
	}
	req := Request{
		Number: s.requests.total + 1,
		Time:   x.now,
		Proto:  r.Proto,
		Method: r.Method,
		Target: cut.text(target),
		Host:   cut.text(r.Host),
		Header: cut.header(r.Header),
		Body:   cut.body(body, x.op != nil && x.op.form),

		RequestID: cut.text(x.requestID()),
		Username:  cut.text(x.username),
		KeyRight:  s.keyRight(x),
		Fault:     x.fault.Kind,
	}
	req.Remote, _ = netip.ParseAddrPort(r.RemoteAddr) // zero for a Unix socket
	if x.op != nil {
		req.Operation = x.op.name
	} else {
		req.Operation = cut.text(route(r))
	}
	if x.key != "" {
		req.KeyHash = KeyHash(x.key)
	}
	s.requests.add(req)
}

func (s *Simulator) keyRight(x *exchange) bool {
	return slices.Contains(s.credentials, Credential{x.username, x.key})
}

// answer refuses or executes the request.
func (s *Simulator) answer(x *exchange) object {
	if message := s.refuse(x); message != "" {
		return refusal(message)
	}
	x.state = StateSuccess
	if x.behaviour.state != "" {
		x.state = x.behaviour.state
	}
	if x.op.requestID != "" {
		s.execute(x)
	} else if x.state != StateSuccess {
		return x.begin(x.message("", "Failed", "Pending"))
	}
	a := x.op.reply(x)
	if x.behaviour.change != nil {
		a = x.behaviour.change(x, a)
	}
	return a
}

// refuse returns why nothing is created, "" if something is. The key is looked
// at before the address.
func (s *Simulator) refuse(x *exchange) string {
	if x.faultErr != nil {
		return "Simulator: " + x.faultErr.Error()
	}
	if !s.keyRight(x) {
		return wrongKeyMessage
	}
	if len(s.allowed) > 0 && !slices.ContainsFunc(s.allowed, func(p netip.Prefix) bool { return p.Contains(x.ip) }) {
		return wrongIPMessage(x)
	}
	if x.behaviour.refuse != nil {
		if message := x.behaviour.refuse(x); message != "" {
			return message
		}
	}
	for _, name := range x.op.required {
		if x.fields.text(name) == "" {
			return "Missing Field " + name
		}
	}
	if x.op.check != nil {
		if message := x.op.check(x.fields); message != "" {
			return message
		}
	}
	if s.refuseTwice && x.fault.Kind != DuplicateAccepted {
		if message := duplicateMessage(x); message != "" {
			return message
		}
	}
	amount, ok := x.op.amount(x.fields)
	if !ok {
		return "Invalid Amount"
	}
	if !s.books.covers(x.op.wallet, amount) {
		return lowBalanceMessage
	}
	return ""
}

// execute enters the request into the books.
func (s *Simulator) execute(x *exchange) {
	amount, _ := x.op.amount(x.fields) // refuse has seen to it
	e := Entry{
		RequestID: x.requestID(),
		Operation: x.op.name,
		Wallet:    x.op.wallet,
		Amount:    amount,
		State:     x.state,
		Created:   x.now,
		subject:   x.fields.text("number"),
		operator:  x.fields.text("operatorid"),
		payee:     x.beneficiary(),
	}
	e.callback, _ = chosenBy(x.fields, Kind.ofCallback)
	if x.op.pan {
		e.subject = x.fields.text("psaid")
	}
	if x.behaviour.settle != "" && x.fault.Delay > 0 {
		e.settle, e.settleAt = x.behaviour.settle, x.now.Add(x.fault.Delay)
	}
	x.entry = s.books.execute(e, x.fault.Kind == IDCollision)
	if !e.settleAt.IsZero() {
		s.settleAfter(x.fault.Delay)
	}
}
