package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// identifySigner verifies the signature of a request, if there is one and merchants
// sign, and adds whose it is to what the caller proves. One that does not verify
// proves nothing; why is for the log.
func (g *Gateway) identifySigner(ctx context.Context, x *exchange, r *Request) error {
	if g.Signatures == nil || !signer.IsSigned(r.Header) {
		return nil
	}
	verified, err := g.Signatures.Verify(ctx, signer.IncomingRequest(r.Method, r.Scheme, r.Host, r.Target, r.Header))
	if err != nil {
		return err
	}
	x.signature = &verified
	r.Caller.SignatureKey = verified.KeyID
	return nil
}

// checkDigest holds the body of a signed request against the digest that is signed. A
// request that somebody has changed is not the merchant's.
func (g *Gateway) checkDigest(x *exchange, header http.Header, body []byte) *Problem {
	if x.signature == nil || !signer.CoversBody(*x.signature) {
		return nil
	}
	if err := httpsig.CheckDigest(header, body); err != nil {
		return g.disown(x, "the body is not the one that is signed", "the body does not fit its Content-Digest")
	}
	return nil
}

// disown refuses a request that has a merchant's signature and is not the merchant's: it
// does not count as one of its calls.
func (g *Gateway) disown(x *exchange, why, detail string) *Problem {
	g.Limits.GiveBack(x.merchant.Name)
	x.record.Rule, x.record.Reason = x.record.Rule+"; "+why, string(whitelist.Unauthenticated)
	return &Problem{Code: Unauthenticated, Detail: detail}
}

// useNonce sees to it that a signed request is taken once. It comes when all else is
// checked, so that nobody can use up the nonce of a request that they cannot make, and
// before anything happens.
func (g *Gateway) useNonce(ctx context.Context, x *exchange) *Problem {
	if x.signature == nil {
		return nil
	}
	err := g.Journal.UseNonce(ctx, journal.Nonce{
		Scope: x.merchant.Name + " " + x.signature.KeyID, Value: x.signature.Nonce, Expires: g.Signatures.Fresh(*x.signature),
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, journal.ErrReplayed):
		return g.disown(x, "the signature was used before", "a request with this signature was taken before: sign each request anew, with a nonce of its own")
	case ctx.Err() != nil:
		return x.cancelled()
	}
	x.record.Err = err
	return &Problem{Code: JournalUnavailable, Detail: "nothing was sent; the same request ID may be sent again"}
}
