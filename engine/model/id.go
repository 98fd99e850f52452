package model

import (
	"crypto/rand"
	"encoding/hex"
)

// NewID gives 64 random hex digits, the form of Docker's IDs of containers,
// endpoints, further processes and networks of one host.
func NewID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
