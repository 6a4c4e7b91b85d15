package main

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed Caddyfile.tmpl
var caddyfileText string

var caddyfileTemplate = template.Must(template.New("Caddyfile").Parse(caddyfileText))

type merchant struct {
	Name, Hash string
	From       []string
}

// merchants are so many. Each has ten source ranges, the last of which is the one
// that it calls from, and an operation of its own.
func merchants(n int) (all []merchant) {
	for i := range n {
		m := merchant{Name: fmt.Sprint("m", i)}
		m.Hash = fmt.Sprintf("%x", sha256.Sum256([]byte("npg_"+m.Name)))
		for j := range 9 {
			m.From = append(m.From, fmt.Sprintf("10.%d.%d.%d/28", i>>8, i&255, j*16))
		}
		m.From = append(m.From, "127.0.0.0/8")
		all = append(all, m)
	}
	return all
}

// caddyfile is that of a gateway.
func (g *gateway) caddyfile(admin, site string) (string, error) {
	var text strings.Builder
	err := caddyfileTemplate.Execute(&text, struct {
		Admin, Site, Upstream, Folder, Journal string
		MaxInFlight                            int
		Merchants                              []merchant
	}{admin, site, g.provider.Address, g.folder, cmp.Or(g.shared, "sqlite "+g.journal()), g.row.maxInFlight, merchants(g.row.merchants)})
	return text.String(), err
}
