// Package simulator is a Nowpay to develop and test against: the provider's
// calls, two wallets in a ledger, and every way of misbehaving that a gateway
// has to live with.
//
// It is written from the provider's reference and from what is reported of the
// platform, and shares no reading of bodies with the gateway: it reads and
// writes as PHP does, leniently. "1e2" is an amount to it, the last of two equal
// names wins, and numbers come back as PHP prints them. What it can't know (the
// exact texts of messages, prices, the time zone) is made up. Nothing in it is
// meant for production.
//
// # The provider
//
// [Simulator.Handler] answers POST /api/index.php?route=/api/<group>/<action>
// with status 200, also when it refuses: a wrong key, a wrong address, a missing
// field or an empty wallet are {"success":"0","message":…} without ourrequestid.
// Other methods find no fields, so no key; other paths and unknown routes are an
// HTML page with status 404. The key is looked at before the address.
//
// A transaction debits its wallet when it is created (payouts the AEPS wallet,
// all else the trade wallet) and credits it again if it fails. A request ID that
// comes again is executed again, and paid twice, unless the provider is told to
// refuse it. The ledger ([Simulator.Ledger]) has one entry for each execution.
//
// The AEPS queries take forms, everything else JSON. Besides the documented
// calls these are answered as reported, to try `operation` blocks on:
// recharge/dorecharge, recharge/history, recharge/mbasicplans, recharge/dthinfo,
// bank/account_verify, bank/upi_transfer. bank/payout_status is made up, after
// the history of recharges: the reference only hints at such a call.
//
// # Faults
//
// A fault is added with [Simulator.AddFault] or over the control API
// ([Simulator.Control]), for one operation, one request ID, a number of times or
// a share of the requests. Without access to either, a request chooses its own
// by any field of the value sim:<kind>, as in "name":"sim:timeout-after-debit".
// A duration may follow (sim:slow:3s), or anything that makes the value unique
// (sim:pending:1001, where only the request ID takes text). An unknown kind is
// refused with a message that says so. In the order of their likely use:
//
//	kind                  what happens
//	success               as without a fault; excepts a request from a later fault
//	failed                executed, failed, credited again; success "0" with ourrequestid
//	refused               nothing is created; success "0" without ourrequestid
//	pending               executed; success "2" for ever, or until SettlePending
//	pending-then-success  … and becomes success after the delay, with a callback
//	pending-then-failed   … and becomes failed after the delay, with a callback
//	ambiguous             executed; success "1" without rrn, but pending in the books
//	flipped-final         success, made failed by an operator right after; no callback
//
//	wrong-key             refused as if the key were wrong
//	wrong-ip              refused as if the address were not whitelisted
//	low-balance           refused as if the wallet were empty
//	duplicate-refused     a request ID that was executed before is refused
//	duplicate-accepted    … is executed again, whatever the configuration says
//
//	timeout-before-debit  hangs, nothing is executed
//	timeout-after-debit   executed, then hangs
//	reset-before          connection reset, nothing is executed
//	reset-after-debit     executed, then connection reset
//	close-after-debit     executed, then connection closed without an answer
//	keepalive-death       answered; the next request on the connection is executed
//	                      and the connection closed without an answer
//	slow                  executed, answered after the delay (two seconds)
//	truncated             executed; half of the body, then the connection closes
//
//	http-500              executed; status 500 and HTML
//	redirect              executed; 302 to /elsewhere
//	redirect-307          executed; 307 to the same URL: following it pays again
//	gzip                  executed; compressed, whatever was asked for
//	wrong-content-type    executed; JSON as text/html
//	reserved-headers      executed; Set-Cookie and the gateway's own headers
//
//	junk-before-json      executed; a debug object stands in front of the answer
//	html-warning          executed; an HTML warning stands in front of the answer
//	too-large             executed; an answer of two MiB
//	deep-json             executed; 100 arrays in each other
//	duplicate-names       executed; success twice, the first is "0"
//	success-as-number     executed; success is a number
//	unknown-success       executed; success is "7"
//	id-collision          executed under the ourrequestid of the transaction before
//	other-id              executed; another yourrequestid in the answer
//	other-amount          executed; another amount in the answer
//	no-provider-id        executed; no ourrequestid in the answer
//	history-empty         the status query finds nothing
//	history-prefix        the status query finds all transactions of the day
//	status-contradicts    the status query says failed for a success, and
//	                      success for a failed
//
//	key-echo              executed; the key in the message as it is
//	key-echo-base64       … as base64 of username:key
//	key-echo-base64url    … in URL-safe base64
//	key-echo-hex          … in hex
//	key-echo-url          … percent-encoded
//	key-echo-json         … in \u escapes
//	key-echo-header       … in a header
//	key-echo-split        … in halves over two headers
//
//	jwe-plain             executed; with JWE: the answer in plain JSON
//	jwe-wrong-key         … encrypted with another key
//	jwe-wrong-algorithm   … encrypted with A128CBC-HS256
//	jwe-tampered          … changed after the encryption
//
//	signature-missing          executed; with signatures: an answer that is not signed
//	signature-empty            … whose signature has no bytes
//	signature-wrong-key        … signed with another key
//	signature-unknown-key      … that names a key which nobody knows
//	signature-wrong-algorithm  … that names another algorithm
//	signature-stale            … signed an hour ago
//	signature-unbound          … whose signature does not cover the request
//	signature-replayed         … to the request before
//	digest-wrong               … whose body is changed after it was signed
//
// "Executed" is meant of calls that create a transaction; the others are
// answered in the same way. Faults of the wire act in HTTP/1.1, where the
// connection is the request's own; in HTTP/2 the stream is aborted instead.
//
// # Encryption
//
// With [Config.JWE] requests must be JWE under the key of the username that is
// their `kid`, with that username in the body and no key; anything else is refused
// like a wrong key. Answers are JWE too, but for those to somebody who is not known,
// and for what does not come from a program: error pages, redirects, and what is
// compressed or of another content type.
//
// With [Config.Signatures] requests must be signed by RFC 9421, with a shared key of
// the username (hmac-sha256) or the partner's own, over their method, target,
// content type and digest, and a nonce that was not used before. What is not is
// refused like a wrong key. Answers and callbacks are signed too, an answer with the
// key of its request where that is shared.
//
// # Callbacks
//
// Where a target is set ([Config.Callback], [Simulator.SetCallback]), a
// transaction that was pending and becomes success or failed is told there, by
// the bank's late word (a fault's delay, [Simulator.SettlePending]) and not by an
// operator's ([Simulator.FlipFinal]): one HTTP request without signature, from an
// address that can be chosen. It is not repeated, no redirect is followed, and the
// reply is ignored. Of PAN there are none. A failure's callback has no reference
// and no name, which is made up.
//
// Faults of callbacks are in the same list as those of answers. A request meets
// one of each: of the answer when it comes, of the callback when that is due,
// except callback-before-answer. So pending-then-success and callback-lost make a
// transaction that becomes final without a callback. A request chooses both in
// two fields, the callback's perhaps with its shape: "bank":"sim:callback-sent:flat".
// [Simulator.SendCallback] sends one on demand and [Simulator.SendRaw] anything;
// [Simulator.Callbacks] tells what was sent.
//
//	callback-sent               as without a fault; excepts one from a later fault
//	callback-lost               not sent
//	callback-repeated           sent several times at once (three)
//	callback-delayed            sent after the delay (two seconds)
//	callback-overtaken          sent after the next one
//	callback-before-answer      pending-then-… settles at once; its request is
//	                            answered when the callback has ended
//	callback-wrong-source       from another address (127.0.0.66)
//	callback-wrong-provider-id  another ourrequestid in it
//	callback-wrong-request-id   another yourrequestid in it
//	callback-wrong-amount       an amount in it, where none belongs, and a wrong one
//	callback-contradicts        says failed for a success, and success for a failed
//	callback-junk               an error page and half of a JSON object
//	callback-unsigned           with signatures: not signed
//
// # Invariants
//
// What is in the wallets is what was there at the start, less amount and
// surcharge of every entry that did not fail. The same seed, clock and order of
// requests give the same answers, byte for byte, but for encryption. No key that was ever valid is
// in [Simulator.Requests], [Simulator.Callbacks], [Simulator.Ledger] or an answer
// of the control API, as it is or as JSON and URLs write it. A request that hangs
// ends with its client, or with [Simulator.Close]. The only goroutines are those
// that send callbacks and those that wait to settle a transaction: Close ends
// what waits, and waits for callbacks under way, each of which takes five seconds
// at most. Nothing is sent that the books don't say, but by a fault or on demand.
package simulator
