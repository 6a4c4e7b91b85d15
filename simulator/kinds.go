package simulator

// Kind names one way in which the provider may behave or misbehave.
type Kind string

// The kinds of faults. What each does is in the table behaviours, and in the
// package's documentation.
const (
	Success            Kind = "success"
	Failed             Kind = "failed"
	Refused            Kind = "refused"
	Pending            Kind = "pending"
	PendingThenSuccess Kind = "pending-then-success"
	PendingThenFailed  Kind = "pending-then-failed"
	Ambiguous          Kind = "ambiguous"
	FlippedFinal       Kind = "flipped-final"

	WrongKey          Kind = "wrong-key"
	WrongIP           Kind = "wrong-ip"
	LowBalance        Kind = "low-balance"
	DuplicateRefused  Kind = "duplicate-refused"
	DuplicateAccepted Kind = "duplicate-accepted"

	TimeoutBeforeDebit Kind = "timeout-before-debit"
	TimeoutAfterDebit  Kind = "timeout-after-debit"
	ResetBefore        Kind = "reset-before"
	ResetAfterDebit    Kind = "reset-after-debit"
	CloseAfterDebit    Kind = "close-after-debit"
	KeepAliveDeath     Kind = "keepalive-death"
	Slow               Kind = "slow"
	Truncated          Kind = "truncated"

	HTTP500          Kind = "http-500"
	Redirect         Kind = "redirect"
	Redirect307      Kind = "redirect-307"
	Gzip             Kind = "gzip"
	WrongContentType Kind = "wrong-content-type"
	ReservedHeaders  Kind = "reserved-headers"

	JunkBeforeJSON  Kind = "junk-before-json"
	HTMLWarning     Kind = "html-warning"
	TooLarge        Kind = "too-large"
	DeepJSON        Kind = "deep-json"
	DuplicateNames  Kind = "duplicate-names"
	SuccessAsNumber Kind = "success-as-number"
	UnknownSuccess  Kind = "unknown-success"
	IDCollision     Kind = "id-collision"
	OtherID         Kind = "other-id"
	OtherAmount     Kind = "other-amount"
	NoProviderID    Kind = "no-provider-id"

	HistoryEmpty      Kind = "history-empty"
	HistoryPrefix     Kind = "history-prefix"
	StatusContradicts Kind = "status-contradicts"

	KeyEcho          Kind = "key-echo"
	KeyEchoBase64    Kind = "key-echo-base64"
	KeyEchoBase64URL Kind = "key-echo-base64url"
	KeyEchoHex       Kind = "key-echo-hex"
	KeyEchoURL       Kind = "key-echo-url"
	KeyEchoJSON      Kind = "key-echo-json"
	KeyEchoHeader    Kind = "key-echo-header"
	KeyEchoSplit     Kind = "key-echo-split"

	JWEPlain          Kind = "jwe-plain"
	JWEWrongKey       Kind = "jwe-wrong-key"
	JWEWrongAlgorithm Kind = "jwe-wrong-algorithm"
	JWETampered       Kind = "jwe-tampered"

	SignatureMissing        Kind = "signature-missing"
	SignatureEmpty          Kind = "signature-empty"
	SignatureWrongKey       Kind = "signature-wrong-key"
	SignatureUnknownKey     Kind = "signature-unknown-key"
	SignatureWrongAlgorithm Kind = "signature-wrong-algorithm"
	SignatureStale          Kind = "signature-stale"
	SignatureUnbound        Kind = "signature-unbound"
	SignatureReplayed       Kind = "signature-replayed"
	DigestWrong             Kind = "digest-wrong"
)

// The kinds of faults of callbacks. What each does is in the table
// callbackBehaviours, and in the package's documentation.
const (
	CallbackSent            Kind = "callback-sent"
	CallbackLost            Kind = "callback-lost"
	CallbackRepeated        Kind = "callback-repeated"
	CallbackDelayed         Kind = "callback-delayed"
	CallbackOvertaken       Kind = "callback-overtaken"
	CallbackBeforeAnswer    Kind = "callback-before-answer"
	CallbackWrongSource     Kind = "callback-wrong-source"
	CallbackWrongProviderID Kind = "callback-wrong-provider-id"
	CallbackWrongRequestID  Kind = "callback-wrong-request-id"
	CallbackWrongAmount     Kind = "callback-wrong-amount"
	CallbackContradicts     Kind = "callback-contradicts"
	CallbackJunk            Kind = "callback-junk"
	CallbackUnsigned        Kind = "callback-unsigned"
)

// behaviour is what a kind changes, in the order of an exchange. Hooks that are
// nil change nothing. All but before and send run under the simulator's lock.
type behaviour struct {
	kind Kind
	doc  string
	// before ends the exchange before anything is looked at.
	before ending
	// refuse returns a message to refuse with, "" to go on.
	refuse func(*exchange) string
	// state is what becomes of the transaction at once ("" is success), settle
	// what it becomes later.
	state, settle State
	// change edits the answer of a request that was not refused.
	change func(*exchange, object) object
	// rewrite edits any answer on its way out.
	rewrite func(*exchange, *response)
	// send ends the exchange in place of the answer, after the execution.
	send ending
}

// behaviours says what each kind does. "Executes" means: created and debited.
var behaviours = []behaviour{ //nolint:gochecknoglobals // a table, never changed
	{kind: Success, doc: "executes and says so: the same as no fault, to except a request from a later one"},
	{kind: Failed, state: StateFailed, doc: `executes, fails and credits the wallet again: success "0" with ourrequestid`},
	{kind: Refused, refuse: says("Service Not Assigned"), doc: `creates nothing: success "0" and a message, no ourrequestid`},
	{kind: Pending, state: StatePending, doc: `executes and stays pending: success "2", until SettlePending`},
	{kind: PendingThenSuccess, state: StatePending, settle: StateSuccess, doc: "pending, becomes success after the delay (or by SettlePending), which is called back"},
	{kind: PendingThenFailed, state: StatePending, settle: StateFailed, doc: "pending, becomes failed after the delay (or by SettlePending), which is called back"},
	{kind: Ambiguous, state: StatePending, change: ambiguous, doc: `executes, does not know, and says success "1" without rrn and beneficiaryName; the books say pending`},
	{kind: FlippedFinal, change: flipFinal, doc: "says success, and an operator makes it failed right after; no callback"},

	{kind: WrongKey, refuse: says(wrongKeyMessage), doc: "refuses as if the key were wrong"},
	{kind: WrongIP, refuse: wrongIPMessage, doc: "refuses as if the address were not whitelisted"},
	{kind: LowBalance, refuse: says(lowBalanceMessage), doc: "refuses as if the wallet were empty"},
	{kind: DuplicateRefused, refuse: duplicateMessage, doc: "refuses a request ID that was executed before"},
	{kind: DuplicateAccepted, doc: "executes a request ID again, also where Config.RefuseDuplicates is set"},

	{kind: TimeoutBeforeDebit, before: hang, doc: "hangs without executing, until the client gives up or the simulator closes"},
	{kind: TimeoutAfterDebit, send: hang, doc: "executes, then hangs until the client gives up or the simulator closes"},
	{kind: ResetBefore, before: reset, doc: "resets the connection without executing"},
	{kind: ResetAfterDebit, send: reset, doc: "executes, then resets the connection"},
	{kind: CloseAfterDebit, send: hangUp, doc: "executes, then closes the connection without an answer"},
	{kind: KeepAliveDeath, doc: "answers normally; the next request on the same connection is executed and then the connection closed without an answer"},
	{kind: Slow, doc: "executes, and answers after the delay (two seconds if none is given)"},
	{kind: Truncated, rewrite: func(_ *exchange, r *response) { r.truncated = true }, doc: "executes; half of the answer's body, then the connection closes"},

	{kind: HTTP500, rewrite: http500, doc: "executes; status 500 with an HTML page"},
	{kind: Redirect, rewrite: redirectTo("/elsewhere", 302), doc: "executes; status 302 to /elsewhere on the same host"},
	{kind: Redirect307, rewrite: redirectTo("", 307), doc: "executes; status 307 to the same URL: a client that follows pays again"},
	{kind: Gzip, rewrite: compress, doc: "executes; body compressed, Content-Encoding gzip, whatever was asked for"},
	{kind: WrongContentType, rewrite: header("Content-Type", "text/html; charset=UTF-8"), doc: "executes; Content-Type text/html on the JSON"},
	{kind: ReservedHeaders, rewrite: reservedHeaders, doc: "executes; the answer carries Set-Cookie, the gateway's own headers and hop-by-hop headers"},

	{kind: JunkBeforeJSON, rewrite: junkBeforeJSON, doc: "executes; a debug object with personal data stands in front of the answer"},
	{kind: HTMLWarning, rewrite: htmlWarning, doc: "executes; an interpreter's warning in HTML stands in front of the answer"},
	{kind: TooLarge, rewrite: tooLarge, doc: "executes; two MiB of answer, length not announced"},
	{kind: DeepJSON, change: deepJSON, doc: "executes; the answer holds 100 arrays in each other"},
	{kind: DuplicateNames, rewrite: duplicateNames, doc: `executes; the answer has success twice, first "0", then the right one`},
	{kind: SuccessAsNumber, change: successAsNumber, doc: "executes; success is a number"},
	{kind: UnknownSuccess, change: setter("success", "7"), doc: `executes; success is "7"`},
	{kind: IDCollision, doc: "executes under the ourrequestid of the transaction before"},
	{kind: OtherID, change: everywhere(otherID), doc: "executes; the answer carries another yourrequestid"},
	{kind: OtherAmount, change: everywhere(otherAmount), doc: "executes; the answer carries an amount that is one rupee more"},
	{kind: NoProviderID, change: everywhere(noProviderID), doc: "executes; the answer carries no ourrequestid"},
	{kind: HistoryEmpty, doc: `the status query finds nothing: success "1" and no rows`},
	{kind: HistoryPrefix, doc: "the status query matches the first 8 characters only, the day: rows of other transactions come first"},
	{kind: StatusContradicts, doc: "the status query says the opposite: failed for a success, success for a failed"},

	{kind: KeyEcho, change: echoKey(plain), doc: "executes; the key stands in the message as it is"},
	{kind: KeyEchoBase64, change: echoKey(inBase64), doc: "executes; the message has username:key in base64, as in basic authentication"},
	{kind: KeyEchoBase64URL, change: echoKey(inBase64URL), doc: "executes; the message has the key in URL-safe base64"},
	{kind: KeyEchoHex, change: echoKey(inHex), doc: "executes; the message has the key in hex"},
	{kind: KeyEchoURL, change: echoKey(inPercent), doc: "executes; the message has the key with every byte percent-encoded"},
	{kind: KeyEchoJSON, change: echoKey(inJSON), doc: "executes; the message has the key with every character as \\u escape"},
	{kind: KeyEchoHeader, rewrite: keyInHeader, doc: "executes; the header X-Debug holds the key"},
	{kind: KeyEchoSplit, rewrite: keyInHeaders, doc: "executes; the headers X-Debug-1 and X-Debug-2 hold half of the key each"},

	{kind: JWEPlain, doc: "executes; with JWE: the answer is plain JSON"},
	{kind: JWEWrongKey, doc: "executes; with JWE: the answer is encrypted with another key"},
	{kind: JWEWrongAlgorithm, doc: "executes; with JWE: the answer is encrypted with A128CBC-HS256"},
	{kind: JWETampered, doc: "executes; with JWE: the answer is changed after it was encrypted"},

	{kind: SignatureMissing, doc: "executes; with signatures: the answer is not signed"},
	{kind: SignatureEmpty, doc: "executes; with signatures: the answer's signature has no bytes"},
	{kind: SignatureWrongKey, doc: "executes; with signatures: the answer is signed with another key"},
	{kind: SignatureUnknownKey, doc: "executes; with signatures: the answer's signature names a key that nobody knows"},
	{kind: SignatureWrongAlgorithm, doc: "executes; with signatures: the answer's signature names another algorithm"},
	{kind: SignatureStale, doc: "executes; with signatures: the answer was signed an hour ago"},
	{kind: SignatureUnbound, doc: "executes; with signatures: the answer's signature does not cover the request"},
	{kind: SignatureReplayed, doc: "executes; with signatures: the signed answer to the request before"},
	{kind: DigestWrong, doc: "executes; with signatures: the answer's body is changed after it was signed"},
}

// callbackBehaviour is what a kind changes in a callback. A change that is nil
// changes nothing; it runs under the simulator's lock.
type callbackBehaviour struct {
	kind   Kind
	doc    string
	change func(*callback, *Entry, Fault)
}

// callbackBehaviours says what each kind of callback does.
var callbackBehaviours = []callbackBehaviour{ //nolint:gochecknoglobals // a table, never changed
	{kind: CallbackSent, doc: "sent once: the same as no fault, to except a callback from a later one, or to choose its shape"},
	{kind: CallbackLost, doc: "not sent; recorded without a status and without an error"},
	{kind: CallbackRepeated, change: repeated, doc: "sent several times at once (three if copies is not given)"},
	{kind: CallbackDelayed, change: delayed, doc: "sent after the delay (two seconds if none is given)"},
	{kind: CallbackOvertaken, doc: "held back until another callback was sent, and sent after it"},
	{kind: CallbackBeforeAnswer, doc: "a pending-then-… request settles at once, and is answered (as pending) only when its callback has ended"},
	{kind: CallbackWrongSource, change: fromElsewhere, doc: "sent from another address (127.0.0.66 if from is not given)"},
	{kind: CallbackWrongProviderID, change: wrongProviderID, doc: "carries an ourrequestid that is not the transaction's"},
	{kind: CallbackWrongRequestID, change: wrongRequestID, doc: "carries a yourrequestid that is not the transaction's"},
	{kind: CallbackWrongAmount, change: wrongAmount, doc: "carries an amount, which no callback does, and which is one rupee more"},
	{kind: CallbackContradicts, change: contradicts, doc: "says failed for a success, and success for a failed"},
	{kind: CallbackJunk, change: func(c *callback, _ *Entry, _ Fault) { c.junk = true }, doc: "an error page that breaks off in the middle of JSON, under the shape's content type"},
	{kind: CallbackUnsigned, change: func(c *callback, _ *Entry, _ Fault) { c.unsigned = true }, doc: "with signatures: not signed"},
}

// callbackByKind finds a behaviour; the zero one is that of no fault.
var callbackByKind = func() map[Kind]callbackBehaviour { //nolint:gochecknoglobals // a table, never changed
	m := make(map[Kind]callbackBehaviour, len(callbackBehaviours))
	for _, b := range callbackBehaviours {
		m[b.kind] = b
	}
	return m
}()

// byKind finds a behaviour; the zero behaviour is that of no fault.
var byKind = func() map[Kind]behaviour { //nolint:gochecknoglobals // a table, never changed
	m := make(map[Kind]behaviour, len(behaviours))
	for _, b := range behaviours {
		m[b.kind] = b
	}
	return m
}()

// Kinds returns all kinds that are about requests and their answers, in the
// order in which they are best read.
func Kinds() []Kind {
	kinds := make([]Kind, len(behaviours))
	for i, b := range behaviours {
		kinds[i] = b.kind
	}
	return kinds
}

// CallbackKinds returns all kinds that are about callbacks, in the order in
// which they are best read.
func CallbackKinds() []Kind {
	kinds := make([]Kind, len(callbackBehaviours))
	for i, b := range callbackBehaviours {
		kinds[i] = b.kind
	}
	return kinds
}

// Doc says in one line what a kind does; "" for an unknown one.
func (k Kind) Doc() string {
	if b, ok := callbackByKind[k]; ok {
		return b.doc
	}
	return byKind[k].doc
}

func (k Kind) known() bool { return k.ofAnswer() || k.ofCallback() }

func (k Kind) ofAnswer() bool { _, ok := byKind[k]; return ok }

func (k Kind) ofCallback() bool { _, ok := callbackByKind[k]; return ok }
