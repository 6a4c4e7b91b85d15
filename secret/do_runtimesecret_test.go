//go:build goexperiment.runtimesecret && linux && (amd64 || arm64)

package secret_test

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// TestDoErases looks at memory that Do's function has allocated, once it is unused.
// A large object has pages of its own, which nobody uses again so soon.
func TestDoErases(t *testing.T) {
	const size = 1 << 20
	text := []byte("a key that is long enough")
	var address uintptr
	secret.Do(func() {
		buffer := make([]byte, size)
		copy(buffer, text)
		address = uintptr(unsafe.Pointer(&buffer[0]))
	})
	memory := func() []byte {
		return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), len(text))
	}
	if !bytes.Equal(memory(), text) {
		t.Fatal("the text is not where it was written to")
	}
	runtime.GC()
	runtime.GC()
	if bytes.Equal(memory(), text) {
		t.Error("the text is still there")
	}
}
