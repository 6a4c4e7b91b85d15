package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

const canary = "c4n4ry-K3Y-9f8e7d6c5b4a"

// holder has secrets in every place where a careless program may put them.
type holder struct {
	Value    secret.Value
	Pointer  *secret.Value
	Slice    []secret.Value
	Map      map[string]secret.Value
	Any      any
	Cred     *secret.Credential
	Store    *secret.Store
	Nested   struct{ V secret.Value }
	private  secret.Value
	privateP *secret.Value
	privateC *secret.Credential
}

// everything returns many things that hold the canary.
func everything(t *testing.T) []any {
	t.Helper()
	value := func() secret.Value { return secret.New([]byte(canary)) }
	v := value()
	credential := func() *secret.Credential { return newCredential(t, canary+"-user", canary, 1) }
	store := secret.NewStore(time.Minute, time.Now)
	store.Set(credential())
	h := holder{
		Value: value(), Pointer: &v, Slice: []secret.Value{value()}, Map: map[string]secret.Value{"k": value()},
		Any: value(), Cred: credential(), Store: store, private: value(), privateP: &v, privateC: credential(),
	}
	h.Nested.V = value()
	return []any{v, &v, h, &h, []secret.Value{v}, map[string]any{"v": v}, h.Cred, store, store.Status(), v.Reveal}
}

// leaks reports whether text holds the canary in a form in which it could be
// printed.
func leaks(text string) bool {
	decimal := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	literal := fmt.Sprintf("%#v", []byte(canary))
	for _, form := range []string{
		canary, hex.EncodeToString([]byte(canary)), fmt.Sprintf("% x", canary), fmt.Sprintf("%# x", canary),
		base64.StdEncoding.EncodeToString([]byte(canary))[:20], decimal, strings.ReplaceAll(decimal, " ", ","),
		literal[len("[]byte{") : len(literal)-1],
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return true
		}
	}
	return false
}

func mustNotLeak(t *testing.T, how, text string) {
	t.Helper()
	if leaks(text) {
		t.Errorf("%s shows the secret: %s", how, text)
	}
}

func TestLeaksFinds(t *testing.T) {
	for _, format := range []string{"%v", "%x", "%# x", "% X", "%d", "%#v", "%s", "%q"} {
		if !leaks(fmt.Sprintf(format, []byte(canary))) {
			t.Errorf("leaks does not see a secret printed with %s", format)
		}
	}
	if b, err := json.Marshal([]byte(canary)); err != nil || !leaks(string(b)) {
		t.Error("leaks does not see a secret in JSON")
	}
}

func TestFormatVerbs(t *testing.T) {
	verbs := "vTtbcdoOqxXUeEfFgGspw!z"
	flags := []string{"", "+", "#", " ", "# ", "-40", "040", ".3", "+#"}
	for i, x := range everything(t) {
		for _, verb := range verbs {
			for _, flag := range flags {
				format := "%" + flag + string(verb)
				mustNotLeak(t, fmt.Sprintf("#%d %T %s", i, x, format), fmt.Sprintf(format, x))
				mustNotLeak(t, fmt.Sprintf("#%d %T error %s", i, x, format), fmt.Errorf(format, x).Error())
			}
		}
		mustNotLeak(t, "Sprint", fmt.Sprint(x)+fmt.Sprintln(x))
	}
}

func TestValuePrintsAsRedacted(t *testing.T) {
	v := secret.New([]byte(canary))
	for format, want := range map[string]string{
		"%v": "[redacted]", "%+v": "[redacted]", "%#v": "[redacted]", "%s": "[redacted]", "%q": "[redacted]",
		"%x": "[redacted]", "%X": "[redacted]", "%d": "[redacted]", "%T": "secret.Value",
	} {
		if got := fmt.Sprintf(format, v); got != want {
			t.Errorf("Sprintf(%q, value) = %q, want %q", format, got, want)
		}
		if want == "[redacted]" {
			if got := fmt.Sprintf(format, &v); got != want {
				t.Errorf("Sprintf(%q, &value) = %q, want %q", format, got, want)
			}
		}
	}
	if got := fmt.Sprintf("%v", struct{ V secret.Value }{v}); got != "{[redacted]}" {
		t.Errorf("in a struct: %q", got)
	}
}

func TestMarshal(t *testing.T) {
	v := secret.New([]byte(canary))
	for i, x := range everything(t) {
		if b, err := json.Marshal(x); err == nil {
			mustNotLeak(t, fmt.Sprintf("JSON of #%d %T", i, x), string(b))
		}
		if b, err := xml.Marshal(x); err == nil {
			mustNotLeak(t, fmt.Sprintf("XML of #%d %T", i, x), string(b))
		}
	}
	got, err := json.Marshal(map[string]any{"a": v, "b": &v, "c": struct{ V secret.Value }{v}})
	if want := `{"a":"[redacted]","b":"[redacted]","c":{"V":"[redacted]"}}`; err != nil || string(got) != want {
		t.Errorf("json.Marshal = %s, %v, want %s", got, err, want)
	}
	if got := v.GoString(); got != "[redacted]" {
		t.Errorf("GoString() = %q", got)
	}
	if text, err := v.MarshalText(); err != nil || string(text) != "[redacted]" {
		t.Errorf("MarshalText() = %q, %v", text, err)
	}
}

func TestLoggers(t *testing.T) {
	var out bytes.Buffer
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	text, jsonLog := slog.New(slog.NewTextHandler(&out, level)), slog.New(slog.NewJSONHandler(&out, level))
	encoder := zap.NewProductionEncoderConfig()
	zaps := []*zap.Logger{
		zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.AddSync(&out), zap.DebugLevel)),
		zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.AddSync(&out), zap.DebugLevel)),
	}
	for i, x := range everything(t) {
		out.Reset()
		text.Debug("m", "x", x, slog.Group("g", "x", x))
		jsonLog.Debug("m", "x", x, slog.Group("g", "x", x))
		for _, z := range zaps {
			z.Debug("m", zap.Any("any", x), zap.Reflect("reflect", x))
			z.Sugar().Debugw("m", "x", x)
			z.Sugar().Debugf("%v %+v %#v", x, x, x)
		}
		mustNotLeak(t, fmt.Sprintf("log of #%d %T", i, x), out.String())
	}

	out.Reset()
	text.Info("m", "x", secret.New([]byte(canary)))
	zaps[0].Info("m", zap.Any("x", secret.New([]byte(canary))), zap.Reflect("y", secret.New([]byte(canary))))
	if got := strings.Count(out.String(), "[redacted]"); got != 3 {
		t.Errorf("redacted %d times, want 3: %s", got, out.String())
	}
}

// TestReflectionWalk walks through everything that reflection can reach,
// unexported fields included, as printers for debugging do.
func TestReflectionWalk(t *testing.T) {
	for i, x := range everything(t) {
		var found strings.Builder
		walk(&found, reflect.ValueOf(x), 0)
		mustNotLeak(t, fmt.Sprintf("reflection walk of #%d %T", i, x), found.String())
	}
	// The walk must find what is there to be found.
	var found strings.Builder
	walk(&found, reflect.ValueOf(struct{ a *struct{ b any } }{&struct{ b any }{[]byte(canary)}}), 0)
	if !leaks(found.String()) {
		t.Error("the walk does not find a secret in an unexported field")
	}
}

func walk(out *strings.Builder, v reflect.Value, depth int) {
	if depth > 12 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		walk(out, v.Elem(), depth+1)
	case reflect.Struct:
		for _, field := range v.Fields() {
			walk(out, field, depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
			out.Write(v.Bytes())
			return
		}
		for i := range v.Len() {
			walk(out, v.Index(i), depth+1)
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			walk(out, iter.Key(), depth+1)
			walk(out, iter.Value(), depth+1)
		}
	case reflect.String:
		out.WriteString(v.String() + "\n")
	default:
		fmt.Fprintf(out, "%v\n", v)
	}
}

func TestWipe(t *testing.T) {
	b := []byte(canary)
	v := secret.New(b)
	held := v
	if got := string(held.Reveal()); got != canary {
		t.Fatalf("Reveal() = %q, want %q", got, canary)
	}
	v.Wipe()
	if !bytes.Equal(b, make([]byte, len(canary))) {
		t.Errorf("bytes after Wipe: %q", b)
	}
	if got := held.Reveal(); got != nil {
		t.Errorf("Reveal() of a copy after Wipe = %q, want nil", got)
	}
	v.Wipe() // twice does nothing

	var zero secret.Value
	zero.Wipe()
	if got := zero.Reveal(); got != nil {
		t.Errorf("Reveal() of the zero Value = %q, want nil", got)
	}
	if got := fmt.Sprintf("%v %s", zero, zero.String()); got != "[redacted] [redacted]" {
		t.Errorf("zero Value prints as %q", got)
	}
}
