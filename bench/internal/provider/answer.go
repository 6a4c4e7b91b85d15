package provider

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// RequestID finds the ID in a request.
func RequestID(request []byte) []byte {
	_, rest, _ := bytes.Cut(request, []byte(`"yourrequestid":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return id
}

// AppendAnswer appends an answer of about 350 bytes.
func AppendAnswer(out, id []byte) []byte {
	out = append(out, `{"success":"1","message":"Transaction Successful","ourrequestid":"N`...)
	out = append(out, id...)
	out = append(out, `","yourrequestid":"`...)
	out = append(out, id...)
	return append(out, `","rrn":"429910000001","amount":"1.50","beneficiaryName":"Shri Venkateshwara Agricultural Produce`+
		` Marketing and Warehousing Cooperative Society Limited, Bengaluru Rural","date":"2026-11-22 05:19:50 pm"}`...)
}

// components are what the provider signs.
var components = func() (list []httpsig.Component) {
	for _, text := range []string{"@status", "content-digest", `"signature";req;key="sig1"`} {
		component, err := httpsig.ParseComponent(text)
		if err != nil {
			panic(err)
		}
		list = append(list, component)
	}
	return list
}()

// appendSignature appends the header fields of a signed answer to a signed request,
// each after the end of a line.
func appendSignature(out []byte, signature string, body []byte) ([]byte, error) {
	header := http.Header{"Content-Digest": {httpsig.Digest(body)}}
	params := httpsig.Params{Label: "sig1", Components: components, Created: time.Now(), KeyID: Username}
	message := &httpsig.Message{
		Status: http.StatusOK, Header: header,
		Request: &httpsig.Message{Header: http.Header{"Signature": {signature}}},
	}
	input, signature, err := httpsig.Sign(context.Background(), message, params, httpsig.HMAC(Key))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return fmt.Appendf(out, "\r\nContent-Digest: %s\r\nSignature-Input: %s\r\nSignature: %s",
		header.Get("Content-Digest"), input, signature), nil
}
