package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func (o *Operation) words() words {
	return words{
		"moves_money":   onOff(&o.MovesMoney),
		"may_cost":      onOff(&o.MayCost),
		"encoding":      oneText(&o.Encoding),
		"field":         o.parseField,
		"optional":      o.parseField,
		"without":       manyTexts(&o.Without),
		"request_id":    o.parseRequestID,
		"provider_id":   oneText(&o.ProviderID),
		"amount":        oneText(&o.Amount),
		"scale":         oneText(&o.Scale),
		"success_needs": manyTexts(&o.SuccessNeeds),
		"status":        o.parseStatus,
		"revalidate":    oneText(&o.Revalidate),
		"personal":      manyTexts(&o.Personal),
	}
}

// parseField reads `field <name> <format> [<max>]`, `field <name> choice
// <value>...` and the same with `optional`.
func (o *Operation) parseField(d *caddyfile.Dispenser) error {
	kind := d.Val()
	args, err := values(d, 2, many)
	if err != nil {
		return err
	}
	field := &Field{Name: args[0], Format: args[1], Optional: kind == "optional"}
	for _, f := range o.Fields {
		if f.Name == field.Name {
			return d.Errf("field %s is given twice in this operation", f.Name)
		}
	}
	rest, choice := args[2:], field.Format == string(nowpay.FormatChoice)
	switch {
	case choice && len(rest) == 0:
		return d.Errf("field %s: choice needs the values to choose from", field.Name)
	case choice:
		field.Choices = rest
	case len(rest) > 1:
		return d.Errf("field %s: %s takes one more value at most, the largest length in bytes", field.Name, field.Format)
	case len(rest) == 1:
		field.Max, err = strconv.Atoi(rest[0])
		if err != nil || field.Max <= 0 {
			return d.Errf("field %s: the largest length is a number of bytes above zero, not %q", field.Name, rest[0])
		}
	}
	o.Fields = append(o.Fields, field)
	return nil
}

// parseRequestID reads `request_id <field> [<answer field>]`.
func (o *Operation) parseRequestID(d *caddyfile.Dispenser) error {
	args, err := values(d, 1, 2)
	switch {
	case err != nil:
		return err
	case o.RequestID != "":
		return d.Err("request_id is given twice in this block")
	}
	o.RequestID = args[0]
	if len(args) == 2 {
		o.AnswerRequestID = args[1]
	}
	return nil
}

// parseStatus reads `status <operation>`, which may have a block.
func (o *Operation) parseStatus(d *caddyfile.Dispenser) error {
	args, err := values(d, 1, 1)
	switch {
	case err != nil:
		return err
	case o.Status != nil:
		return d.Err("status is given twice in this block")
	}
	q := &StatusQuery{Operation: args[0]}
	o.Status = q
	return words{
		"send":        statusFields(&q.Send),
		"rows":        oneText(&q.Rows),
		"match":       statusFields(&q.Match),
		"state":       oneText(&q.State),
		"success":     manyTexts(&q.Success),
		"failed":      manyTexts(&q.Failed),
		"pending":     manyTexts(&q.Pending),
		"provider_id": oneText(&q.ProviderID),
		"reference":   oneText(&q.Reference),
	}.parse(d, "status")
}

// statusFields reads `<field> <source>` or `<field> field <name>`; further lines
// add to them.
func statusFields(into *[]*StatusField) word {
	return func(d *caddyfile.Dispenser) error {
		kind := d.Val()
		args, err := values(d, 2, 3)
		if err != nil {
			return err
		}
		field := &StatusField{Name: args[0], Source: args[1]}
		for _, f := range *into {
			if f.Name == field.Name {
				return d.Errf("%s %s is given twice in this block", kind, field.Name)
			}
		}
		switch ofRequest := args[1] == "field"; {
		case ofRequest && len(args) == 3:
			field.Source = string(nowpay.SourceField) + args[2]
		case ofRequest:
			return d.Errf("%s %s: field needs the name of a field of the transaction's request", kind, field.Name)
		case len(args) == 3:
			return d.Errf("%s %s: only `field` takes one more value, the name of a field of the transaction's request", kind, field.Name)
		}
		*into = append(*into, field)
		return nil
	}
}
