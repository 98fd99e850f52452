//go:build exhaustive

package main_test

import "testing"

// killEverywhere kills runs after every record of the journal, and before and
// after every request that changes something, and goes on both ways.
func (b *bed) killEverywhere() {
	b.Helper()
	kills := 0
	for _, verb := range []string{"resume", "rollback"} {
		for _, at := range []aim{{}, {request: anyChange}, {request: anyChange, after: true}} {
			for at.nth = 1; b.killAt(at, verb); at.nth++ {
				kills++
			}
		}
	}
	b.Logf("%d kills", kills)
}

func TestKilledEverywhereOnDockerd(t *testing.T) { dockerdBed(t).killEverywhere() }

func TestKilledEverywhereOnEngine(t *testing.T) { engineBed(t).killEverywhere() }
