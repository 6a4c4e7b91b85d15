package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// messageRoutes are those about messages.
func messageRoutes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/nowpay/messages", Handler: operatorRoute{http.MethodGet: (*operatorCall).listMessages}},
		{Pattern: "/nowpay/messages/{id}", Handler: operatorRoute{http.MethodGet: (*operatorCall).showMessage}},
		{Pattern: "/nowpay/messages/{id}/replay", Handler: operatorRoute{http.MethodPost: (*operatorCall).replayMessage}},
		{Pattern: "/nowpay/messages/{id}/drop", Handler: operatorRoute{http.MethodPost: (*operatorCall).dropMessage}},
		{Pattern: "/nowpay/merchants/{merchant}/send-test", Handler: operatorRoute{http.MethodPost: (*operatorCall).sendTest}},
	}
}

func (c *operatorCall) listMessages(ctx context.Context) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	filter, err := parseMessageFilter(query)
	if err != nil {
		return refusal(http.StatusBadRequest, err)
	}
	ctx, done := c.untilReload(ctx)
	defer done()
	return writeLines(ctx, c, c.desk.messages(ctx, filter))
}

func (c *operatorCall) showMessage(ctx context.Context) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	body := false
	err = readQuery(query, func(name, value string) (err error) {
		if name != "body" {
			return errors.New("there is no such parameter")
		}
		body, err = parseTrue(value)
		return err
	})
	switch {
	case err != nil:
		return refusal(http.StatusBadRequest, err)
	case body && c.Header.Get(headerAdmin) != "1":
		return errNoAdminHeader()
	}
	shown, err := c.desk.message(ctx, c.PathValue("id"), body)
	return c.write(shown, err)
}

func (c *operatorCall) replayMessage(ctx context.Context) error {
	if err := c.takesNothing("a replay"); err != nil {
		return err
	}
	after, err := c.desk.replay(ctx, c.PathValue("id"))
	if err == nil {
		c.logMessage(ctx, "an operator had a message worked on again", after)
	}
	return c.write(after, err)
}

// dropped is the body of a request to give a message up.
type dropped struct {
	Reason string `json:"reason"`
}

func (c *operatorCall) dropMessage(ctx context.Context) error {
	if err := c.takesNoQuery(); err != nil {
		return err
	}
	var by dropped
	if err := c.read(&by); err != nil {
		return err
	}
	after, err := c.desk.drop(ctx, c.PathValue("id"), by.Reason)
	if err == nil {
		c.logMessage(ctx, "an operator dropped a message", after)
	}
	return c.write(after, err)
}

// logMessage says what an operator did with a message.
func (c *operatorCall) logMessage(ctx context.Context, deed string, after message) {
	c.rt.logger.WarnContext(ctx, deed, "message", messageKey(after.Message), "box", string(after.Box),
		"merchant", after.Merchant, "account", after.Account, "transaction", after.Transaction)
}

func (c *operatorCall) sendTest(ctx context.Context) error {
	if err := c.takesNothing("a test"); err != nil {
		return err
	}
	merchant := c.PathValue("merchant")
	told, err := c.desk.sendTest(ctx, merchant)
	if err == nil {
		c.rt.logger.InfoContext(ctx, "an operator had a test notification sent", "merchant", merchant, "result", told.Result)
	}
	return c.write(told, err)
}

// takesNothing refuses a body, and a query.
func (c *operatorCall) takesNothing(what string) error {
	if len(c.body) > 0 {
		return refusal(http.StatusBadRequest, fmt.Errorf("%s takes no body", what))
	}
	return c.takesNoQuery()
}

func (c *operatorCall) takesNoQuery() error {
	if c.URL.RawQuery != "" {
		return refusal(http.StatusBadRequest, errors.New("this path takes no query"))
	}
	return nil
}
