package caddymodule

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// word reads what follows a word of the Caddyfile: its values on the same line
// and its block, if it has one. The dispenser stands at the word.
type word func(d *caddyfile.Dispenser) error

// words are the words that a block may consist of.
type words map[string]word

// parse reads the block that opens on the current line, if one does. The name
// of the block is for errors.
func (w words) parse(d *caddyfile.Dispenser, block string) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		read, ok := w[d.Val()]
		switch {
		case ok:
			if err := read(d); err != nil {
				return err
			}
		case d.Val() == "{":
			return d.Errf("unexpected block in %s", block)
		case len(w) == 0:
			return d.Errf("%s takes no block", block)
		default:
			return d.Errf("unknown word%s in %s; there is: %s", repeated(d.Val()), block, commaList(maps.Keys(w)))
		}
	}
	return nil
}

// repeated is a word for an error, unless it looks like a value with a secret
// in it that stands in the wrong place, such as the URL of a database.
func repeated(s string) string {
	if strings.ContainsAny(s, ":/@=") || strings.HasPrefix(s, "whsec_") {
		return ""
	}
	return fmt.Sprintf(" %q", s)
}

// many is no upper limit to the number of values.
const many = -1

// values takes the values on the rest of the line: from least to most, none of
// them empty. Errors name the word but repeat no value, which may be a secret
// in the wrong place.
func values(d *caddyfile.Dispenser, least, most int) ([]string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) < least || most != many && len(args) > most {
		return nil, d.Errf("%s takes %s, not %d", name, quantity(least, most), len(args))
	}
	if slices.Contains(args, "") {
		return nil, d.Errf("%s has an empty value", name)
	}
	return args, nil
}

func quantity(least, most int) string {
	switch {
	case most == 0:
		return "no value on its line"
	case most == many:
		return fmt.Sprintf("%d or more values", least)
	case least == 0:
		return fmt.Sprintf("at most %d value", most)
	case least == 1 && most == 1:
		return "exactly 1 value"
	case least == most:
		return fmt.Sprintf("exactly %d values", least)
	default:
		return fmt.Sprintf("%d to %d values", least, most)
	}
}

// oneText reads one value.
func oneText(into *string) word {
	return once(into, func(s string) (string, error) { return s, nil })
}

// twoTexts reads two values that belong together.
func twoTexts(first, second *string) word {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		args, err := values(d, 2, 2)
		if err != nil {
			return err
		}
		if *first != "" {
			return d.Errf("%s is given twice in this block", name)
		}
		*first, *second = args[0], args[1]
		return nil
	}
}

// oneDuration reads one duration above zero, which would mean the default.
func oneDuration(into *caddy.Duration) word {
	return once(into, func(s string) (caddy.Duration, error) {
		d, err := caddy.ParseDuration(s)
		if err != nil || d <= 0 {
			return 0, fmt.Errorf("takes a duration above zero such as `90s`, not %q", s)
		}
		return caddy.Duration(d), nil
	})
}

// oneSize reads one size in bytes above zero, which would mean the default.
func oneSize(into *int64) word {
	return once(into, func(s string) (int64, error) {
		n, err := humanize.ParseBytes(s)
		if err != nil || n == 0 || n > math.MaxInt64 {
			return 0, fmt.Errorf("takes a size above zero such as `64KiB`, not %q", s)
		}
		return int64(n), nil
	})
}

// oneNumber reads one number above zero, which would mean the default.
func oneNumber(into *int) word {
	return once(into, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n <= 0 {
			return 0, fmt.Errorf("takes a number above zero such as `500`, not %q", s)
		}
		return n, nil
	})
}

// oneRate reads `<requests>/<duration> [<burst>]`, all of them above zero.
func oneRate(into **Rate) word {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		args, err := values(d, 1, 2)
		if err != nil {
			return err
		}
		if *into != nil {
			return d.Errf("%s is given twice in this block", name)
		}
		requests, per, _ := strings.Cut(args[0], "/")
		n, err := strconv.Atoi(requests)
		duration, perErr := caddy.ParseDuration(per)
		if err != nil || perErr != nil || n <= 0 || duration <= 0 {
			return d.Errf("%s takes a number and a duration, both above zero, such as `100/1m`; not %q", name, args[0])
		}
		*into = &Rate{Requests: n, Per: caddy.Duration(duration)}
		if len(args) == 1 {
			return nil
		}
		if (*into).Burst, err = strconv.Atoi(args[1]); err != nil || (*into).Burst <= 0 {
			return d.Errf("%s: the burst is a number above zero, not %q", name, args[1])
		}
		return nil
	}
}

// once reads one value, which must not have been given before.
func once[T comparable](into *T, parse func(string) (T, error)) word {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		args, err := values(d, 1, 1)
		if err != nil {
			return err
		}
		if *into != *new(T) {
			return d.Errf("%s is given twice in this block", name)
		}
		if *into, err = parse(args[0]); err != nil {
			return d.Errf("%s %w", name, err)
		}
		return nil
	}
}

// manyTexts reads one or more values; further lines add to them.
func manyTexts(into *[]string) word {
	return func(d *caddyfile.Dispenser) error {
		args, err := values(d, 1, many)
		*into = append(*into, args...)
		return err
	}
}

// bareWord reads a word that stands alone.
func bareWord(into *bool) word {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if _, err := values(d, 0, 0); err != nil {
			return err
		}
		if *into {
			return d.Errf("%s is given twice in this block", name)
		}
		*into = true
		return nil
	}
}

// onOff reads a word that stands alone or with `on`, or is taken back with `off`.
func onOff(into **bool) word {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		args, err := values(d, 0, 1)
		if err != nil {
			return err
		}
		if *into != nil {
			return d.Errf("%s is given twice in this block", name)
		}
		on := len(args) == 0 || args[0] == "on"
		if !on && args[0] != "off" {
			return d.Errf("%s takes `on` or `off`, not %q", name, args[0])
		}
		*into = &on
		return nil
	}
}

// namedBlocks reads a name and a block, of which there may be several with different names.
func namedBlocks[T any](into *map[string]*T, table func(*T) words) word {
	return func(d *caddyfile.Dispenser) error {
		kind := d.Val()
		args, err := values(d, 1, 1)
		if err != nil {
			return err
		}
		name := args[0]
		if _, ok := (*into)[name]; ok {
			return d.Errf("%s %s is given twice", kind, name)
		}
		if *into == nil {
			*into = make(map[string]*T)
		}
		item := new(T)
		(*into)[name] = item
		return table(item).parse(d, kind)
	}
}

// guestModule reads the name of a module in a namespace and leaves the rest to it.
func guestModule(into *json.RawMessage, namespace, inlineKey string) word {
	return func(d *caddyfile.Dispenser) error {
		kind := d.Val()
		if *into != nil {
			return d.Errf("%s is given twice in this block", kind)
		}
		if !d.NextArg() {
			return d.Errf("%s takes one of: %s", kind, guestNames(namespace))
		}
		name := d.Val()
		id := namespace + "." + name
		if _, err := caddy.GetModule(id); err != nil {
			return d.Errf("unknown %s %s%s; there is: %s", kind, inlineKey, repeated(name), guestNames(namespace))
		}
		module, err := caddyfile.UnmarshalModule(d, id)
		if err != nil {
			return err //nolint:wrapcheck // it names file and line already
		}
		*into = caddyconfig.JSONModuleObject(module, inlineKey, name, nil)
		return nil
	}
}

// guestNames lists the modules of a namespace.
func guestNames(namespace string) string {
	return commaList(func(yield func(string) bool) {
		for _, module := range caddy.GetModules(namespace) {
			if !yield(module.ID.Name()) {
				return
			}
		}
	})
}

// commaList lists names in alphabetical order.
func commaList(names iter.Seq[string]) string {
	return strings.Join(slices.Sorted(names), ", ")
}
