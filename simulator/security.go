package simulator

import (
	"errors"
	"mime"
	"net/http"
)

// security is a way to protect requests and answers, in place of the documented
// one, which has the key in the body. Both methods run under the simulator's lock.
type security interface {
	// open gives a request's body as it was before it was protected, its media
	// type, and the credential that protected it. It gives nothing for one that is
	// not protected as it must be, which is then refused like a wrong key.
	open(r *http.Request, body []byte, valid []Credential) (plain []byte, media string, by Credential)
	// seal protects an answer to x, unless the fault that x met says otherwise. It
	// is called for answers of the programs to whom they know.
	seal(x *exchange, resp *response)
}

// newSecurity makes the security that is configured, nil for the documented one.
func newSecurity(c Config) (security, error) {
	switch {
	case c.JWE != nil && c.Signatures != nil:
		return nil, errors.New("there is one scheme: JWE or signatures")
	case c.JWE != nil:
		return newEncryption(*c.JWE, c.Key)
	case c.Signatures != nil:
		return newSignatures(*c.Signatures, c.Now)
	}
	return nil, nil
}

// open finds out what a request says, and with a security who says it.
func (s *Simulator) open(r *http.Request, body []byte) (plain []byte, media string, by Credential) {
	if s.security != nil {
		return s.security.open(r, body, s.credentials)
	}
	media, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type"))
	return body, media, Credential{}
}

// seal protects an answer. What does not come from a program, such as an error
// page, a redirect or what a proxy has compressed, comes as it is; and so does what
// is said to somebody who is not known.
func (s *Simulator) seal(x *exchange, resp *response) {
	h := resp.header
	if s.security != nil && x.by != (Credential{}) && resp.status == http.StatusOK &&
		h.Get("Content-Type") == "application/json" && h.Get("Content-Encoding") == "" {
		s.security.seal(x, resp)
	}
}
