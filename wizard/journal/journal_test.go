package journal_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/wizard/journal"
)

func now() time.Time { return time.Date(2025, time.June, 1, 12, 0, 0, 0, time.UTC) }

func create(tb testing.TB, records ...journal.Record) (string, *journal.Journal) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "run.journal")
	j, err := journal.Create(path, now)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = j.Close() })
	for _, r := range records {
		if err := j.Append(r); err != nil {
			tb.Fatal(err)
		}
	}
	return path, j
}

func start() journal.Record {
	return journal.Record{Kind: journal.Start, Data: json.RawMessage(`{"plan":1}`), Secret: json.RawMessage(`{"spec":"hush"}`)}
}

func TestGoesOnWhereItWas(t *testing.T) {
	path, j := create(t, start(), journal.Record{Kind: journal.Begin, Step: "a"})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Append(journal.Record{Kind: journal.End, Step: "a"}); err != nil {
		t.Fatal(err)
	}
	records, err := journal.Read(path)
	if err != nil || len(records) != 3 || records[2].Seq != 3 || records[2].Kind != journal.End || string(records[0].Secret) != `{"spec":"hush"}` {
		t.Errorf("%+v, %v", records, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestOneWriter(t *testing.T) {
	path, _ := create(t, start())
	_, err := journal.Open(path, now)
	if busy := (*journal.BusyError)(nil); !errors.As(err, &busy) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := journal.Create(path, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	if _, err := journal.Read(path); err != nil {
		t.Errorf("read while in use: %v", err)
	}
}

// TestKilledAtAnyByte cuts a journal short at every byte: what was
// acknowledged before is there, and it can be gone on with.
func TestKilledAtAnyByte(t *testing.T) {
	path, j := create(t, start(), journal.Record{Kind: journal.Begin, Step: "a"}, journal.Record{Kind: journal.End, Step: "a"})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := journal.Open(path, now)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		acknowledged := strings.Count(string(whole[:n]), "\n")
		if len(j.Records()) != acknowledged {
			t.Fatalf("%d bytes: %d records, want %d", n, len(j.Records()), acknowledged)
		}
		next := journal.Record{Kind: journal.Fail, Step: "a"}
		if acknowledged == 0 {
			next = start()
		}
		if err := errors.Join(j.Append(next), j.Close()); err != nil {
			t.Fatal(err)
		}
		if records, err := journal.Read(path); err != nil || len(records) != acknowledged+1 {
			t.Fatalf("%d bytes: then %d records, %v", n, len(records), err)
		}
	}
}

// line gives a record as it stands in a journal.
func line(tb testing.TB, seq int, kind journal.Kind) string {
	tb.Helper()
	text, err := journal.Encode(journal.Record{Format: 1, Seq: seq, Kind: kind, Data: json.RawMessage(`{"port":8080}`)})
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func TestDamaged(t *testing.T) {
	first := line(t, 1, journal.Start)
	for name, tt := range map[string]struct {
		text, want string
		sound      int
	}{
		"half a line inside": {first + `{"format":1,"se` + "\n" + line(t, 3, journal.End), "line 2", 1},
		"a record missing":   {first + line(t, 3, journal.End), "record 3 where 2", 1},
		"a byte flipped":     {first + line(t, 2, journal.Begin) + strings.Replace(line(t, 3, journal.End), "8080", "8081", 1), "line 3: it is not what was written", 2},
		"the sum flipped":    {strings.Replace(first, `"sum":"`, `"sum":"0`, 1), "checksum", 0},
		"no sum":             {`{"format":1,"seq":1,"kind":"start"}` + "\n", "no checksum", 0},
		"newer":              {`{"format":2,"seq":1,"kind":"start"}` + "\n", "newer weft", 0},
		"not a record":       {`{}` + "\n", "no checksum", 0},
		"no start":           {line(t, 1, journal.Begin), `"begin" as record 1`, 0},
		"two starts":         {first + line(t, 2, journal.Start), `"start" as record 2`, 1},
	} {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := journal.Open(path, now)
		damaged := (*journal.DamagedError)(nil)
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), tt.want) || len(damaged.Sound) != tt.sound {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != tt.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// TestEveryByteFlipped changes each byte of a journal: none goes unnoticed.
func TestEveryByteFlipped(t *testing.T) {
	path, j := create(t, start(), journal.Record{Kind: journal.Begin, Step: "a"}, journal.Record{Kind: journal.End, Step: "a"})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - 1 { // without its end the last line is one that was never acknowledged
		text := []byte(string(whole))
		text[n] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if records, err := journal.Read(path); err == nil {
			t.Errorf("byte %d (%q) flipped, and read as %d records", n, whole[n], len(records))
		}
	}
}

// TestDiskFull writes to a file system that is too small: the record that
// doesn't fit leaves nothing, and the ones before stay.
func TestDiskFull(t *testing.T) {
	path, j := create(t, start())
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	limit(t, int64(len(before))+40)
	big := journal.Record{Kind: journal.End, Step: strings.Repeat("x", 4096)}
	if err := j.Append(big); err == nil {
		t.Fatal("written past the limit")
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the failed record left something: %q, %v", after, err)
	}
	if len(j.Records()) != 1 {
		t.Errorf("%d records", len(j.Records()))
	}
}

func TestSeal(t *testing.T) {
	path, j := create(t, start(), journal.Record{Kind: journal.Finish, Data: json.RawMessage(`"done"`)})
	if err := j.Seal(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "hush") || !strings.Contains(string(text), `"plan":1`) {
		t.Errorf("sealed: %s, %v", text, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	if records, err := journal.Read(path); err != nil || len(records) != 2 {
		t.Errorf("%+v, %v", records, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(line(f, 1, journal.Start) + line(f, 2, journal.Begin) + `{"for`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		records, err := journal.Read(path)
		if err != nil {
			return
		}
		j, err := journal.Open(path, now)
		if err != nil {
			t.Fatalf("can be read, not opened: %v", err)
		}
		next := journal.Record{Kind: journal.Begin, Step: "next"}
		if len(records) == 0 {
			next = start()
		}
		if err := errors.Join(j.Append(next), j.Close()); err != nil {
			t.Fatal(err)
		}
		if again, err := journal.Read(path); err != nil || len(again) != len(records)+1 {
			t.Fatalf("%d records, then %d: %v", len(records), len(again), err)
		}
	})
}
