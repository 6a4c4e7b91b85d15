package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	maxSecrets = 2
	maxID      = 255
)

// Message is one notification.
type Message struct {
	// ID is the same whenever the same message is sent: receivers know by it what
	// they have had. 1 to 255 bytes of printable ASCII without space and full
	// stop, which ends it in what is signed.
	ID string
	// Time of this sending, not of what the message is about: receivers refuse
	// what is some minutes off. Seconds count.
	Time time.Time
	// Body is the JSON text, not empty. It is not kept.
	Body []byte
}

// check says what is wrong with a message. The error wraps ErrMessage and quotes
// nothing.
func (m Message) check() error {
	switch {
	case m.ID == "" || len(m.ID) > maxID || strings.ContainsFunc(m.ID, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '.' }):
		return fmt.Errorf("%w: its ID is not 1 to %d printable ASCII characters without space and full stop", ErrMessage, maxID)
	case m.Time.Unix() <= 0:
		return fmt.Errorf("%w: it has no time", ErrMessage)
	case len(m.Body) == 0:
		return fmt.Errorf("%w: it has no body", ErrMessage)
	case !utf8.Valid(m.Body): // receivers that sign text would see another one
		return fmt.Errorf("%w: its body is not UTF-8", ErrMessage)
	}
	return nil
}

// sign returns the signatures with all current secrets, as the header has them.
func (s *Sender) sign(m Message) (string, error) {
	secrets, err := s.secrets()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSecrets, err)
	}
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return "", fmt.Errorf("%w: there are %d, not one or two", ErrSecrets, len(secrets))
	}
	signatures := make([]string, len(secrets))
	for i, secret := range secrets {
		key := secret.Reveal()
		if len(key) == 0 {
			return "", fmt.Errorf("%w: one is empty", ErrSecrets)
		}
		signer, err := webhooks.NewWebhookRaw(key)
		if err != nil {
			return "", ErrSecrets
		}
		if signatures[i], err = signer.Sign(m.ID, m.Time, m.Body); err != nil {
			return "", ErrSecrets
		}
	}
	return strings.Join(signatures, " "), nil
}
