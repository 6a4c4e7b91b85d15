package secret_test

import (
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

func TestDo(t *testing.T) {
	t.Parallel()
	called := 0
	secret.Do(func() { secret.Do(func() { called++ }) })
	if called != 1 {
		t.Errorf("called %d times", called)
	}
	defer func() {
		if p := recover(); p != "a panic" {
			t.Errorf("recovered %v", p)
		}
	}()
	secret.Do(func() { panic("a panic") })
}
