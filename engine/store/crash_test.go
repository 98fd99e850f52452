package store_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"weft/engine/store"
)

// crashFile tells a child process of the test which file to write to.
const crashFile = "WEFT_TEST_STORE_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		os.Exit(writeUntilKilled(path))
	}
	goleak.VerifyTestMain(m)
}

// writeUntilKilled puts rows 0, 1, 2, ... and prints each number once its row
// is said to be durable.
func writeUntilKilled(path string) int {
	s, err := store.Open(path, store.Options{})
	if err != nil {
		return 1
	}
	for i := 0; ; i++ {
		if err := s.Endpoints().Put(strconv.Itoa(i), endpoint(strconv.Itoa(i))); err != nil {
			return 1
		}
		if _, err := os.Stdout.WriteString(strconv.Itoa(i) + "\n"); err != nil {
			return 1
		}
	}
}

func TestRowsSurviveKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashFile+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for lines := bufio.NewScanner(out); lines.Scan(); acknowledged++ {
		if acknowledged == 100 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if acknowledged < 100 {
		t.Fatalf("the writer ended after %d rows", acknowledged)
	}
	s := open(t, path)
	for i := range acknowledged {
		if _, err := s.Endpoints().Get(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
}
