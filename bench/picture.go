package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"strings"
	"text/template"
)

//go:embed picture.tmpl
var pictureText string

var pictureTemplate = template.Must(template.New("picture").Parse(pictureText))

// Lengths in the picture.
const (
	pictureTop  = 64  // above the first bar
	rowHeight   = 24  // of a bar and the space below it
	labelWidth  = 336 // before the first panel
	panelWidth  = 190 // of the longest bar
	panelSpace  = 62  // for the number behind it
	pictureFoot = 16
)

// bar is one of a panel.
type bar struct {
	X, Y, Width int
	Text        string
	Ours        bool
}

// End is where its number begins.
func (b bar) End() int { return b.X + b.Width }

type label struct {
	Y    int
	Text string
}

type panel struct {
	X, One int // where it begins, and where a ratio of 1 is
	Title  string
	Bars   []bar
}

// picture draws CPU and throughput, as ratios to plain Caddy, as SVG. The upstream
// alone is left out: beside it, all others are the same.
func picture(r *results) (string, error) {
	data := struct {
		Width, Height, Bottom int
		Labels                []label
		Panels                []panel
	}{Width: labelWidth + 2*(panelWidth+panelSpace)}
	var shown []variant
	for _, v := range r.variants {
		if v.name != "direct" {
			data.Labels = append(data.Labels, label{pictureTop + len(shown)*rowHeight, plainText(v.title)})
			shown = append(shown, v)
		}
	}
	data.Bottom = pictureTop + len(shown)*rowHeight
	data.Height = data.Bottom + pictureFoot
	data.Panels = []panel{
		r.panel(shown, labelWidth, "CPU (less is better)", cpu),
		r.panel(shown, labelWidth+panelWidth+panelSpace, "throughput (more is better)", throughput),
	}
	var out bytes.Buffer
	if err := pictureTemplate.Execute(&out, data); err != nil {
		return "", fmt.Errorf("drawing: %w", err)
	}
	return out.String(), nil
}

func (r *results) panel(shown []variant, x int, title string, f figure) panel {
	l := r.loadOf(targetConnections, 0)
	longest := 1.0
	for _, v := range shown {
		longest = max(longest, orZero(r.ratio(v.name, plainCaddy, l, f)))
	}
	width := func(ratio float64) int { return int(math.Round(orZero(ratio) / longest * panelWidth)) }
	p := panel{X: x, One: x + width(1), Title: title}
	for i, v := range shown {
		ratio := r.ratio(v.name, plainCaddy, l, f)
		p.Bars = append(p.Bars, bar{
			X: x, Y: pictureTop + i*rowHeight, Width: width(ratio), Text: number(ratio, 2),
			Ours: strings.HasPrefix(v.name, plainGateway),
		})
	}
	return p
}

// orZero is a ratio, or 0 where it was not measured (max would be NaN).
func orZero(ratio float64) float64 {
	if math.IsNaN(ratio) {
		return 0
	}
	return ratio
}

// plainText is a title without its Markdown.
func plainText(title string) string { return strings.NewReplacer("**", "", "`", "").Replace(title) }
