package commands_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"weft/commands/cmdtest"
)

// bridge is the far end of an ssh connection: it joins its streams with the
// socket that BRIDGE_SOCKET names, as `docker system dial-stdio` does.
func bridge() int {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: os.Getenv("BRIDGE_SOCKET"), Net: "unix"})
	if err != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.CloseWrite()
	}()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		return 1
	}
	return 0
}

// start runs weft as a process of its own and gives its exit code when it ends.
func start(t *testing.T, args ...string) (cmd *exec.Cmd, in io.WriteCloser, out *bufio.Reader, code func() int) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), "weft", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix:///nowhere.sock", "DOCKER_CONFIG="+t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, bufio.NewReader(stdout), func() int {
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode()
	}
}

// A signal at a prompt ends the command with the signal's code.
func TestSignalAtPrompt(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, in, out, code := start(t, "network", "prune")
		if _, err := out.ReadString(']'); err != nil { // the prompt stands
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if got, want := code(), 128+int(signal); got != want {
			t.Errorf("%v: exit code %d, want %d", signal, got, want)
		}
		_ = in.Close()
	}
}

// A signal while an engine takes its time ends the request.
func TestSignalDuringRequest(t *testing.T) {
	listener, err := net.Listen("unix", cmdtest.New(t).Socket+".slow")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	asked := make(chan net.Conn, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			select {
			case asked <- conn:
			default:
			}
		}
	}()
	cmd, in, _, code := start(t, "-H", "unix://"+listener.Addr().String(), "network", "ls")
	defer in.Close()
	select {
	case conn := <-asked:
		defer conn.Close()
	case <-time.After(10 * time.Second):
		t.Fatal("no connection")
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := code(); got != 130 {
		t.Errorf("exit code %d, want 130", got)
	}
}
