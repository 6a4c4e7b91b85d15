package machine

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

func TestProcess(t *testing.T) {
	p, err := Start(exec.Command("sh", "-c", "sleep 9 & exec sleep 100"))
	if err != nil {
		t.Fatal(err)
	}
	if now, peak, err := p.Memory(); now <= 0 || peak < now || err != nil {
		t.Errorf("Memory() = %v, %v, %v", now, peak, err)
	}
	if cpu, err := p.CPU(); cpu < 0 || err != nil {
		t.Errorf("CPU() = %v, %v", cpu, err)
	}
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	}
	if _, err := p.CPU(); err == nil {
		t.Error("CPU() of a process that has ended is no error")
	}
}

func TestAwait(t *testing.T) {
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(exec.Command("sh", "-c", "echo no such thing >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Await(t.Context(), Listening(address)); err == nil || !strings.Contains(err.Error(), "exit status 3:\nno such thing\n") {
		t.Errorf("Await() of what has ended = %v", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := p.Await(t.Context(), Listening(address)); err != nil {
		t.Errorf("Await() = %v", err)
	}
	if _, err := Start(exec.Command("/nonexistent")); err == nil {
		t.Error("Start() of nothing is no error")
	}
}
