package mesh

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"weft/engine/nft"
)

// bySource gives which of n tasks the kernel chooses for a client by its
// address: nft_jhash_eval (net/netfilter/nft_hash.c) of nft.BySource.
func bySource(client netip.Addr, n int) int {
	h := jhash(client.AsSlice(), nft.HashSeed)
	return int(uint64(h) * uint64(n) >> 32) //nolint:gosec // below n: reciprocal_scale (linux/kernel.h)
}

// jhash is Jenkins' hash of at most 16 bytes, four at a time, as
// linux/jhash.h has it on a little-endian machine.
func jhash(key []byte, seed uint32) uint32 {
	const initval = 0xdeadbeef
	a := initval + uint32(len(key)) + seed //nolint:gosec // at most 16
	b, c := a, a
	word := func(i int) uint32 {
		if 4*i >= len(key) {
			return 0
		}
		return binary.NativeEndian.Uint32(key[4*i:])
	}
	if len(key) > 12 {
		a, b, c = a+word(0), b+word(1), c+word(2)
		a, b, c = mix(a, b, c)
		key = key[12:]
	}
	return final(a+word(0), b+word(1), c+word(2))
}

// mix and final are __jhash_mix and __jhash_final.
func mix(a, b, c uint32) (x, y, z uint32) {
	rol := bits.RotateLeft32
	a -= c
	a ^= rol(c, 4)
	c += b
	b -= a
	b ^= rol(a, 6)
	a += c
	c -= b
	c ^= rol(b, 8)
	b += a
	a -= c
	a ^= rol(c, 16)
	c += b
	b -= a
	b ^= rol(a, 19)
	a += c
	c -= b
	c ^= rol(b, 4)
	b += a
	return a, b, c
}

func final(a, b, c uint32) uint32 {
	rol := bits.RotateLeft32
	c ^= b
	c -= rol(b, 14)
	a ^= c
	a -= rol(c, 11)
	b ^= a
	b -= rol(a, 25)
	c ^= b
	c -= rol(b, 16)
	a ^= c
	a -= rol(c, 4)
	b ^= a
	b -= rol(a, 14)
	c ^= b
	c -= rol(b, 24)
	return c
}
