package egress

import (
	"context"
	"crypto/tls"
	"net/netip"
)

// ProbeResult is what a new connection to the upstream looks like.
type ProbeResult struct {
	LocalAddr  netip.Addr
	RemoteAddr netip.Addr
	// TLSVersion as in "TLS 1.3"; empty for plain http.
	TLSVersion string
	// PeerSPKI are the keys of the verified chain, the server's own first, in
	// the form of a pin: "sha256/…". Nil for plain http.
	PeerSPKI []string
}

// Probe opens a connection as [Client.Do] would, with all its checks, sends
// nothing over it and closes it. Its error is an [*Error] that is not sent.
func (c *Client) Probe(ctx context.Context) (ProbeResult, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return ProbeResult{}, failure(ctx, false, false, err)
	}
	defer conn.close()
	result := ProbeResult{LocalAddr: conn.local, RemoteAddr: addrOf(conn.RemoteAddr())}
	if secured, ok := conn.Conn.(*tls.Conn); ok {
		state := secured.ConnectionState()
		result.TLSVersion = tls.VersionName(state.Version)
		for _, cert := range state.VerifiedChains[0] {
			result.PeerSPKI = append(result.PeerSPKI, formatPin(spki(cert)))
		}
	}
	return result, nil
}
